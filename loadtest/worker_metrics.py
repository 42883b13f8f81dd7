"""A fake worker's /metrics, under the names vLLM exports today."""

from collections.abc import Iterator

from loadtest.engine import Counters
from loadtest.worker_histograms import Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(counters: Counters, model: str, kv_tokens: int) -> bytes:
    """Render Prometheus text; `kv_tokens` is the cache's size in tokens."""
    labels = f'engine="0",model_name="{model}"'
    lines: list[str] = []
    for name, kind, help_text, value in _plain(counters, kv_tokens):
        lines += _header(name, kind, help_text)
        lines.append(f"vllm:{name}{{{labels}}} {float(value)}")
    lines += _header("request_success_total", "counter", "Requests by the reason they ended.")
    for reason, count in sorted(counters.finished.items()):
        sample = f'{labels},finished_reason="{reason}"'
        lines.append(f"vllm:request_success_total{{{sample}}} {float(count)}")
    for name, help_text, histogram in _histograms(counters):
        lines += _header(name, "histogram", help_text)
        lines += histogram.samples(f"vllm:{name}", labels)
    return ("\n".join(lines) + "\n").encode()


def _plain(counters: Counters, kv_tokens: int) -> Iterator[tuple[str, str, str, float]]:
    usage = min(counters.tokens_held / kv_tokens, 1.0)
    yield "num_requests_running", "gauge", "Requests being generated.", counters.running
    yield "num_requests_waiting", "gauge", "Requests waiting for a slot.", counters.waiting
    yield "kv_cache_usage_perc", "gauge", "KV cache in use, 0 to 1.", usage
    yield "num_preemptions_total", "counter", "Preemptions: there are none.", 0
    yield "prompt_tokens_total", "counter", "Prompt tokens.", counters.prompt_tokens
    yield "prompt_tokens_cached_total", "counter", "Of those, found.", counters.cached_tokens
    yield "generation_tokens_total", "counter", "Tokens made.", counters.generated_tokens
    yield "prefix_cache_queries_total", "counter", "Tokens looked up.", counters.prompt_tokens
    yield "prefix_cache_hits_total", "counter", "Tokens found.", counters.cached_tokens


def _histograms(counters: Counters) -> Iterator[tuple[str, str, Histogram]]:
    spread = counters.spread
    yield "request_prompt_tokens", "Prompt tokens of a request.", spread.prompt_tokens
    yield "request_generation_tokens", "Tokens made for a request.", spread.generated_tokens
    yield "time_to_first_token_seconds", "From arrival.", spread.first_token_s
    yield "inter_token_latency_seconds", "From token to token.", spread.between_tokens_s
    yield "e2e_request_latency_seconds", "From arrival to the end.", spread.request_s
    yield "request_queue_time_seconds", "Waiting for a slot.", spread.queue_s
    yield "request_prefill_time_seconds", "From slot to first token.", spread.prefill_s
    yield "request_decode_time_seconds", "From first token to the end.", spread.decode_s


def _header(name: str, kind: str, help_text: str) -> list[str]:
    return [f"# HELP vllm:{name} {help_text}", f"# TYPE vllm:{name} {kind}"]
