"""A fake worker's /metrics, under the names vLLM exports today."""

from loadtest.engine import Counters

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(counters: Counters, model: str, kv_tokens: int) -> bytes:
    """Render Prometheus text; `kv_tokens` is the cache's size in tokens."""
    usage = min(counters.tokens_held / kv_tokens, 1.0)
    series = [
        ("num_requests_running", "gauge", "Requests being generated.", counters.running),
        ("num_requests_waiting", "gauge", "Requests waiting for a slot.", counters.waiting),
        ("kv_cache_usage_perc", "gauge", "KV cache in use, 0 to 1.", usage),
        ("prompt_tokens_total", "counter", "Prompt tokens.", counters.prompt_tokens),
        ("generation_tokens_total", "counter", "Tokens made.", counters.generated_tokens),
        ("prefix_cache_queries_total", "counter", "Tokens looked up.", counters.prompt_tokens),
        ("prefix_cache_hits_total", "counter", "Tokens found.", counters.cached_tokens),
    ]
    labels = f'engine="0",model_name="{model}"'
    lines: list[str] = []
    for name, kind, help_text, value in series:
        lines += _header(name, kind, help_text)
        lines.append(f"vllm:{name}{{{labels}}} {float(value)}")
    lines += _header("request_success_total", "counter", "Requests by the reason they ended.")
    for reason, count in sorted(counters.finished.items()):
        sample = f'{labels},finished_reason="{reason}"'
        lines.append(f"vllm:request_success_total{{{sample}}} {float(count)}")
    return ("\n".join(lines) + "\n").encode()


def _header(name: str, kind: str, help_text: str) -> list[str]:
    # Counters are declared without their suffix, as prometheus_client writes them.
    base = name.removesuffix("_total")
    return [f"# HELP vllm:{base} {help_text}", f"# TYPE vllm:{base} {kind}"]
