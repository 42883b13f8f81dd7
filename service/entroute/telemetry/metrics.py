"""Prometheus metrics: counters and histograms from finished traces, gauges read at scrape.

Labels come only from closed sets: endpoints, tiers, strategies, verifiers and reasons that the
configuration or the code names.
"""

from collections.abc import Callable
from statistics import fmean

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from entroute.confidence import token_entropy
from entroute.evidence import Outcome, Trace

_DURATIONS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)
_FIRST_TOKENS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BETWEEN_TOKENS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_OVERHEADS = (50e-6, 100e-6, 200e-6, 400e-6, 800e-6, 1.6e-3, 3.2e-3, 6.4e-3, 0.0128, 0.05, 0.2, 1)
_SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_ENTROPIES = (0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2, 2, 3)

NONE = "none"
"""Label of what a request never reached."""


class Metrics:
    """Every metric that entroute exports about requests.

    Args:
        registry: Where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._requests = self._counter(
            "requests", "Requests by how they ended.", "endpoint", "strategy", "tier", "outcome"
        )
        self._duration = self._histogram(
            "request_duration_seconds",
            "Time to the end of the answer.",
            _DURATIONS,
            "endpoint",
            "strategy",
        )
        self._ttft = self._histogram(
            "time_to_first_token_seconds",
            "Time to the first piece of a stream.",
            _FIRST_TOKENS,
            "tier",
        )
        self._gaps = self._histogram(
            "inter_token_latency_seconds",
            "Time between pieces of a stream.",
            _BETWEEN_TOKENS,
            "tier",
        )
        self._overhead = self._histogram(
            "overhead_seconds",
            "Time of the gateway itself, upstream excluded.",
            _OVERHEADS,
            "endpoint",
        )
        self._tokens = self._counter(
            "tokens",
            "Tokens as the workers count them; prompt excludes cached.",
            "tier",
            "kind",
            "purpose",
        )
        self._cost = self._counter("cost_usd", "Cost at the configured prices.", "tier")
        self._samples = self._counter(
            "samples", "Samples by what became of them.", "strategy", "result"
        )
        self._cancelled = self._counter(
            "samples_cancelled", "Samples no longer needed.", "strategy"
        )
        self._saved = self._counter("tokens_saved", "Tokens that were not spent again.", "reason")
        self._escalations = self._counter(
            "escalations", "Moves between tiers.", "from", "to", "reason"
        )
        self._difficulty = self._histogram(
            "difficulty", "Estimated difficulty, 1 hardest.", _SHARES, "source"
        )
        self._entropy = self._histogram(
            "entropy_nats", "Mean token entropy of answers, lower bound.", _ENTROPIES, "tier"
        )
        self._scores = self._histogram(
            "verifier_score", "Scores of candidates.", _SHARES, "verifier"
        )
        self._abstained = self._counter("verifier_abstained", "Candidates not judged.", "verifier")
        self._lookups = self._counter("cache_lookups", "Cache look-ups.", "kind", "result")
        self._exhausted = self._counter("budget_exhausted", "Requests cut by a limit.", "limit")
        self._degraded = self._counter("degraded", "Requests that did without a part.", "part")

    def export_in_flight(self, read: Callable[[], int]) -> None:
        """Export how many requests are on their way, read at scrape."""
        name, text = "entroute_requests_in_flight", "Requests on their way."
        Gauge(name, text, registry=self.registry).set_function(read)

    def record(self, trace: Trace) -> None:
        """Write one finished trace."""
        outcome = trace.outcome
        strategy, tier = _names(trace)
        self._requests.labels(trace.endpoint, strategy, tier, trace.result).inc()
        end = trace.started if trace.finished is None else trace.finished
        self._duration.labels(trace.endpoint, strategy).observe(end - trace.started)
        self._overhead.labels(trace.endpoint).observe(trace.overhead_s(end))
        if trace.ttft_s is not None:
            self._ttft.labels(tier).observe(trace.ttft_s)
            gaps = self._gaps.labels(tier)
            for gap in trace.gaps_s:
                gaps.observe(gap)
        if trace.exhausted is not None:
            self._exhausted.labels(trace.exhausted).inc()
        for part in trace.degraded:
            self._degraded.labels(part).inc()
        if trace.estimate is not None and trace.estimate.difficulty is not None:
            self._difficulty.labels(trace.estimate.source).observe(trace.estimate.difficulty)
        self._record_cache(trace)
        self._record_spending(trace)
        if outcome is not None and trace.cache != "exact":
            self._record_outcome(outcome)

    def _record_cache(self, trace: Trace) -> None:
        if trace.cache in {None, "bypass"}:
            return
        if trace.shared:
            result = "shared"
        elif trace.cache == "miss":
            result = "error" if "cache" in trace.degraded else "miss"
        else:
            result = "hit"
        self._lookups.labels("exact", result).inc()
        if trace.cache == "exact" and trace.outcome is not None:
            usage = trace.outcome.usage
            self._saved.labels("cache").inc(usage.prompt_tokens + usage.completion_tokens)

    def _record_spending(self, trace: Trace) -> None:
        for charge in trace.charges:
            usage = charge.usage
            fresh = usage.prompt_tokens - usage.cached_tokens
            self._tokens.labels(charge.tier, "prompt", charge.purpose).inc(fresh)
            self._tokens.labels(charge.tier, "cached", charge.purpose).inc(usage.cached_tokens)
            self._tokens.labels(charge.tier, "completion", charge.purpose).inc(
                usage.completion_tokens
            )
            self._cost.labels(charge.tier).inc(charge.cost_usd)

    def _record_outcome(self, outcome: Outcome) -> None:
        strategy = outcome.strategy
        self._samples.labels(strategy, "finished").inc(len(outcome.candidates))
        self._samples.labels(strategy, "failed").inc(len(outcome.failures))
        self._samples.labels(strategy, "cancelled").inc(outcome.cancelled)
        self._cancelled.labels(strategy).inc(outcome.cancelled)
        for move in outcome.escalations:
            self._escalations.labels(move.source, move.target, move.reason).inc()
        for verdict in outcome.verdicts:
            if verdict.abstained:
                self._abstained.labels(outcome.verifier).inc()
            else:
                self._scores.labels(outcome.verifier).observe(verdict.score)
        for choice in outcome.choices:
            if choice.logprobs:
                entropy = fmean(token_entropy(token) for token in choice.logprobs)
                self._entropy.labels(choice.tier).observe(entropy)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"entroute_{name}", text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(f"entroute_{name}", text, labels, buckets=buckets, registry=self.registry)


def _names(trace: Trace) -> tuple[str, str]:
    """Return the labels strategy and tier of a trace, as far as it got."""
    if trace.outcome is not None:
        return trace.outcome.strategy, trace.outcome.tier
    if trace.decision is not None:
        return trace.decision.strategy, trace.decision.tier
    return NONE, NONE
