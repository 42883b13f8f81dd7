"""The first page: does it answer, how fast, what does it cost, who suffers."""

from deploy.dashboards.layout import Board, Line, Section, line, section
from deploy.dashboards.overview_running import itself, load, objectives
from deploy.dashboards.panels import AnyPanel, Query, lines, number
from deploy.dashboards.queries import ours, over, part_of, quantile, rate, share
from deploy.dashboards.style import (
    DOLLARS,
    NUMBER,
    ORANGE,
    OUTCOMES,
    RED,
    REQUESTS,
    SECONDS,
    SHARE,
    TOKENS,
    YELLOW,
    Look,
)

ALL = rate(ours("requests_total"))
USUAL = (0.5, 0.95, 0.99)
COST = rate(ours("cost_usd_total"))
COUNTED = 'outcome=~"ok|server_error"'
FAILED = 'outcome="server_error"'
QUIET = Look(empty="no requests")
PILED = Look(stacked="normal", empty="no requests")


def board() -> Board:
    """Return the dashboard."""
    now = section("Now", _answers(), _means())
    return Board(
        uid="entroute-overview",
        title="Overview",
        summary="Whether the gateway answers, how fast, and what it costs.",
        sections=(now, objectives(), _traffic(), _latency(), _money(), load(), itself()),
    )


def _answers() -> Line:
    counted = (rate(ours("requests_total", which)) for which in (FAILED, COUNTED))
    requests = number(
        "Requests",
        "Requests a second over all endpoints, refused ones included. A sudden fall is as bad "
        "as a peak: then clients cannot reach the gateway.",
        REQUESTS,
        Query(ALL, "requests"),
        QUIET,
    )
    failures = number(
        "Failed by our fault",
        "Share of the requests that ended ok or in a server error that ended in the latter. "
        "Above the error budget (0.5%) clients notice: see errors by endpoint, then Workers.",
        SHARE,
        Query(share(*counted), "failed"),
        Look(steps=((0.005, YELLOW), (0.02, RED)), empty="no requests", decimals=2),
    )
    whole_answer = number(
        "Whole answer, p95",
        "95 of 100 answers are complete within this time, streams to their last piece. "
        "Samples and hand-overs make it longer on purpose.",
        SECONDS,
        Query(quantile(0.95, ours("request_duration_seconds_bucket")), "p95"),
        Look(steps=((15, YELLOW), (60, RED)), empty="no requests"),
    )
    first_token = number(
        "First token, p95",
        "95 of 100 streams say something within this time. It is what people feel; above the "
        "objective's threshold (5 s) it counts against it.",
        SECONDS,
        Query(quantile(0.95, ours("time_to_first_token_seconds_bucket")), "p95"),
        Look(steps=((2.5, YELLOW), (5, RED)), empty="no streams"),
    )
    return line(4, (6, requests), (6, failures), (6, whole_answer), (6, first_token))


def _means() -> Line:
    in_flight = number(
        "In flight",
        "Requests on their way at all replicas; what the autoscaler goes by.",
        NUMBER,
        Query(over("sum", ours("requests_in_flight")), "in flight"),
        Look(empty="no gateway"),
    )
    cost_per_hour = number(
        "Cost per hour",
        "Dollars an hour at the configured prices, all tiers, at the present pace.",
        DOLLARS,
        Query(f"3600 * {COST}", "cost"),
        Look(empty="no priced calls"),
    )
    cost_per_1000 = number(
        "Cost per 1000 requests",
        "Dollars for a thousand requests of the present mix. It falls when more answers come "
        "from the cache and from small tiers, and rises with escalations.",
        DOLLARS,
        Query(f"1000 * {COST} / ({ALL} > 0)", "cost"),
        QUIET,
    )
    parts_missing = number(
        "Parts missing per request",
        "Parts that requests did without: cache, gate, verifier, a tier. Answers still come, "
        "but cost more or promise less. 0 is normal; Degraded parts says which.",
        SHARE,
        Query(share(rate(ours("degraded_total")), ALL), "degraded"),
        Look(steps=((0.01, YELLOW), (0.1, ORANGE)), empty="no requests"),
    )
    return line(4, (6, in_flight), (6, cost_per_hour), (6, cost_per_1000), (6, parts_missing))


def _traffic() -> Section:
    failed, counted = (
        rate(ours("requests_total", which), "endpoint") for which in (FAILED, COUNTED)
    )
    by_endpoint = lines(
        "Requests by endpoint",
        "What is asked for. `other` are requests that reach no answering path, refused keys "
        "among them: many mean a client with a wrong address or key.",
        REQUESTS,
        Query(rate(ours("requests_total"), "endpoint"), "{{endpoint}}"),
        look=PILED,
    )
    by_outcome = lines(
        "Requests by how they ended",
        "`client_error` is the client's (wrong field, key, limit), `cancelled` a client that "
        "left: growing, it says that answers are too slow. Red is ours.",
        REQUESTS,
        Query(rate(ours("requests_total"), "outcome"), "{{outcome}}"),
        look=Look(stacked="normal", colours=OUTCOMES, empty="no requests"),
    )
    failed_by_endpoint = lines(
        "Failed by endpoint",
        "Share of server errors by endpoint, of what ended ok or so. One endpoint alone "
        "points at its tier (Workers); all together at the gateway or at Redis.",
        SHARE,
        Query(share(failed, counted), "{{endpoint}}"),
        look=Look(steps=((0.005, RED),), empty="no requests"),
    )
    return section(
        "Who asks, and how it ends",
        line(8, (8, by_endpoint), (8, by_outcome), (8, failed_by_endpoint)),
    )


def _latency() -> Section:
    first_token = lines(
        "First token by tier, p95",
        "95 of 100 streams say something within this time, by the tier that answered. A rise "
        "with a queue below: add workers. Without one: long prompts, cold prefix caches.",
        SECONDS,
        Query(quantile(0.95, ours("time_to_first_token_seconds_bucket"), "tier"), "{{tier}}"),
        look=Look(empty="no streams"),
    )
    between_tokens = lines(
        "Between tokens by tier, p95",
        "Time between two pieces of a stream. Above 0.1 s people read faster than it writes; "
        "it rises when the engines' batches are large.",
        SECONDS,
        Query(quantile(0.95, ours("inter_token_latency_seconds_bucket"), "tier"), "{{tier}}"),
        look=Look(empty="no streams"),
    )
    own_time = lines(
        "The gateway's own time",
        "What the gateway adds, waiting for workers, programs, reward models and clients "
        "excluded. Some milliseconds are normal, tens mean a starved CPU: add replicas.",
        SECONDS,
        *(Query(quantile(q, ours("overhead_seconds_bucket")), f"p{q * 100:g}") for q in USUAL),
        look=QUIET,
    )
    return section(
        "How fast",
        line(
            8,
            (6, _whole_answer()),
            (6, first_token),
            (6, between_tokens),
            (6, own_time),
        ),
    )


def _whole_answer() -> AnyPanel:
    return lines(
        "Time to the end of the answer",
        "Half, 95 and 99 of 100 answers are complete within these times. p99 far above p95: a "
        "few requests sample or escalate, or one worker is slow.",
        SECONDS,
        *(
            Query(quantile(q, ours("request_duration_seconds_bucket")), f"p{q * 100:g}")
            for q in USUAL
        ),
        look=QUIET,
    )


def _money() -> Section:
    cost = rate(ours("cost_usd_total"), "tier")
    cost_per_hour = lines(
        "Cost per hour by tier",
        "Dollars an hour at the configured prices. Nothing where a tier has no price. The "
        "alert on spending goes by the sum.",
        DOLLARS,
        Query(f"3600 * {cost}", "{{tier}}"),
        look=Look(stacked="normal", empty="no priced calls"),
    )
    cost_per_1000 = lines(
        "Cost per 1000 requests by tier",
        "Dollars for a thousand requests of all kinds, by where they are spent. The largest "
        "tier's share growing at the same traffic: see Adaptive compute, escalations.",
        DOLLARS,
        Query(part_of(f"1000 * {cost}", ALL), "{{tier}}"),
        look=Look(stacked="normal", empty="no priced calls"),
    )
    tokens = lines(
        "Tokens by tier and kind",
        "As the workers count them, over all calls. `cached` prompts are cheap; much `prompt` "
        "beside little `cached` on long chats: prefix caches do not hit (Workers).",
        TOKENS,
        Query(rate(ours("tokens_total"), "tier", "kind"), "{{tier}} {{kind}}"),
        look=Look(stacked="normal", empty="no calls"),
    )
    return section("What it costs", line(8, (8, cost_per_hour), (8, cost_per_1000), (8, tokens)))
