"""What vLLM says of itself, by the name of the model."""

from deploy.dashboards.layout import Section, line, section
from deploy.dashboards.panels import AnyPanel, Query, hot, lines
from deploy.dashboards.queries import over, quantile, rate, share, vllm
from deploy.dashboards.style import EVENTS, NUMBER, ORANGE, RED, SECONDS, SHARE, TOKENS, Look

MODEL = "model_name"
NAME = "{{model_name}}"
UNSEEN = "vLLM is not scraped"
HITS = rate(vllm("prefix_cache_hits_total"), MODEL)
LOOKED_UP = rate(vllm("prefix_cache_queries_total"), MODEL)


def engine() -> Section:
    """Return what engines hold, and how full they are."""
    first = line(
        8,
        (6, _running()),
        (6, _waiting()),
        (6, _kv_cache()),
        (6, _prefix_cache_hit()),
    )
    preemptions = lines(
        "Preemptions",
        "Requests thrown out of the KV cache and computed again. Anything lasting means too "
        "many sequences for the memory: lower `max_num_seqs`.",
        EVENTS,
        Query(rate(vllm("num_preemptions_total"), MODEL), NAME),
        look=Look(stacked="normal", steps=((0.1, ORANGE),), empty=UNSEEN),
    )
    finished = lines(
        "Finished in the engine, by reason",
        "`stop`: as it should. `length`: cut by max_tokens. `abort`: cancelled by the "
        "gateway, early stopping and clients that left.",
        EVENTS,
        Query(
            rate(vllm("request_success_total"), MODEL, "finished_reason"),
            "{{model_name}} {{finished_reason}}",
        ),
        look=Look(stacked="normal", empty=UNSEEN),
    )
    second = line(
        8,
        (6, _tokens_generated()),
        (6, _prompt_tokens_read()),
        (6, preemptions),
        (6, finished),
    )
    return section("vLLM: how full are the engines?", first, second)


def _prefix_cache_hit() -> AnyPanel:
    return lines(
        "Prefix cache hit ratio",
        "Share of prompt tokens that were cached. Low on chats and samples: prefix affinity "
        "is off, or caches are too small.",
        SHARE,
        Query(share(HITS, LOOKED_UP), NAME),
        look=Look(most=1, empty="no prompts"),
    )


def _running() -> AnyPanel:
    return lines(
        "Running in the engine",
        "Requests that vLLM works on, all replicas. More than the gateway's calls in flight: "
        "somebody else asks the same workers.",
        NUMBER,
        Query(over("sum", vllm("num_requests_running"), MODEL), NAME),
        look=Look(stacked="normal", empty=UNSEEN),
    )


def _waiting() -> AnyPanel:
    return lines(
        "Waiting in the engine",
        "Requests that vLLM has taken and not begun; autoscalers go by it. Waiting here and "
        "not at the gateway: `max_in_flight` is above `max_num_seqs`.",
        NUMBER,
        Query(over("sum", vllm("num_requests_waiting"), MODEL), NAME),
        look=Look(stacked="normal", empty=UNSEEN),
    )


def _kv_cache() -> AnyPanel:
    return lines(
        "KV cache in use",
        "The fullest replica of each model. Above 90% requests are put off and computed "
        "again: more replicas, a shorter context, or a quantised cache.",
        SHARE,
        Query(over("max", vllm("kv_cache_usage_perc"), MODEL), NAME),
        look=Look(most=1, steps=((0.9, RED),), empty=UNSEEN),
    )


def _tokens_generated() -> AnyPanel:
    return lines(
        "Tokens generated",
        "Tokens a second that engines write: their throughput.",
        TOKENS,
        Query(rate(vllm("generation_tokens_total"), MODEL), NAME),
        look=Look(stacked="normal", empty=UNSEEN),
    )


def _prompt_tokens_read() -> AnyPanel:
    return lines(
        "Prompt tokens read",
        "Tokens a second that engines read, cached ones included.",
        TOKENS,
        Query(rate(vllm("prompt_tokens_total"), MODEL), NAME),
        look=Look(stacked="normal", empty=UNSEEN),
    )


def engine_times() -> Section:
    """Return how long engines take."""
    first_token = vllm("time_to_first_token_seconds_bucket")
    first_tokens = lines(
        "First token in the engine",
        "Half and 95 of 100 requests. Beside it the gateway's first token (Overview) says "
        "what queueing and deciding add.",
        SECONDS,
        Query(quantile(0.5, first_token, MODEL), "{{model_name}} p50"),
        Query(quantile(0.95, first_token, MODEL), "{{model_name}} p95"),
        look=Look(empty="no requests"),
    )
    queue_time = lines(
        "Time in the engine's queue, p95",
        "Before vLLM begins. Above a fraction of a second: lower `max_in_flight`, so that "
        "priorities and shedding see what waits; or add replicas.",
        SECONDS,
        Query(quantile(0.95, vllm("request_queue_time_seconds_bucket"), MODEL), NAME),
        look=Look(empty="no requests"),
    )
    whole_requests = hot(
        "Whole requests in the engine",
        "Requests by the time from arrival to the last token, all models that are chosen. Two "
        "bands are two kinds of traffic, or two kinds of GPU.",
        SECONDS,
        Query(rate(vllm("e2e_request_latency_seconds_bucket"), "le"), "{{le}}"),
        Look(empty="no requests"),
    )
    return section(
        "vLLM: how fast are they?",
        line(
            8,
            (6, first_tokens),
            (6, _between_tokens()),
            (6, queue_time),
            (6, whole_requests),
        ),
    )


def _between_tokens() -> AnyPanel:
    return lines(
        "Between tokens in the engine",
        "Half and 95 of 100 gaps. It grows with the batch; a jump without load is a slow or "
        "shared GPU.",
        SECONDS,
        *(
            Query(
                quantile(q, vllm("inter_token_latency_seconds_bucket"), MODEL),
                f"{{{{model_name}}}} p{q * 100:g}",
            )
            for q in (0.5, 0.95)
        ),
        look=Look(empty="no requests"),
    )
