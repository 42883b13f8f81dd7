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

PREFIX = "entroute_"

_COUNTERS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("requests", "Requests by how they ended.", ("endpoint", "strategy", "tier", "outcome")),
    (
        "tokens",
        "Tokens as the workers count them; prompt excludes cached.",
        ("tier", "kind", "purpose"),
    ),
    ("cost_usd", "Cost at the configured prices.", ("tier",)),
    ("samples", "Samples by what became of them.", ("strategy", "result")),
    ("samples_cancelled", "Samples no longer needed.", ("strategy",)),
    (
        "tokens_saved",
        "Tokens that were not spent: cache hits, samples resumed or stopped early.",
        ("reason",),
    ),
    ("segment_tokens", "Tokens of answers that changed hands, by who wrote them.", ("tier",)),
    ("reread_tokens", "Tokens of partial answers read again at a hand-over.", ("tier",)),
    ("decisions", "What the policy chose, and what it went by.", ("plan", "basis")),
    ("escalations", "Moves between tiers.", ("from", "to", "reason")),
    ("verifier_abstained", "Candidates not judged.", ("verifier",)),
    ("cache_lookups", "Cache look-ups.", ("kind", "result")),
    ("cache_false_hit_guard", "Likely answers by meaning that a guard refused.", ("guard",)),
    ("budget_exhausted", "Requests cut by a limit.", ("limit",)),
    ("degraded", "Requests that did without a part.", ("part",)),
)

_HISTOGRAMS: tuple[tuple[str, str, tuple[str, ...], tuple[float, ...]], ...] = (
    (
        "request_duration_seconds",
        "Time to the end of the answer.",
        ("endpoint", "strategy"),
        _DURATIONS,
    ),
    (
        "time_to_first_token_seconds",
        "Time to the first piece of a stream.",
        ("tier",),
        _FIRST_TOKENS,
    ),
    (
        "inter_token_latency_seconds",
        "Time between pieces of a stream.",
        ("tier",),
        _BETWEEN_TOKENS,
    ),
    (
        "overhead_seconds",
        "Time of the gateway itself: workers, programs and reward models excluded.",
        ("endpoint",),
        _OVERHEADS,
    ),
    (
        "queue_wait_seconds",
        "Time that calls waited in a tier's queue, of those that did.",
        ("tier",),
        _DURATIONS,
    ),
    ("difficulty", "Estimated difficulty, 1 hardest.", ("source",), _SHARES),
    ("predicted_quality", "Predicted probability of a right answer.", ("plan",), _SHARES),
    ("entropy_nats", "Mean token entropy of answers, lower bound.", ("tier",), _ENTROPIES),
    ("verifier_score", "Scores of candidates.", ("verifier",), _SHARES),
)

NONE = "none"
"""Label of what a request never reached."""


class Metrics:
    """Every metric that entroute exports about requests.

    Args:
        registry: Where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._count = {
            name: Counter(PREFIX + name, text, labels, registry=registry)
            for name, text, labels in _COUNTERS
        }
        self._observe = {
            name: Histogram(PREFIX + name, text, labels, buckets=buckets, registry=registry)
            for name, text, labels, buckets in _HISTOGRAMS
        }

    def export_in_flight(self, read: Callable[[], int]) -> None:
        """Export how many requests are on their way, read at scrape."""
        name, text = "entroute_requests_in_flight", "Requests on their way."
        Gauge(name, text, registry=self.registry).set_function(read)

    def export_draining(self, read: Callable[[], bool]) -> None:
        """Export whether the server is leaving, read at scrape."""
        name, text = "entroute_draining", "Whether the server has been asked to stop: 1, else 0."
        Gauge(name, text, registry=self.registry).set_function(lambda: float(read()))

    def export_build(self, version: str) -> None:
        """Export which version runs, as the label of a constant 1."""
        name, text = "entroute_build_info", "Which version runs: a constant 1."
        Gauge(name, text, ("version",), registry=self.registry).labels(version).set(1)

    def record(self, trace: Trace) -> None:
        """Write one finished trace."""
        strategy, tier = _names(trace)
        end = trace.started if trace.finished is None else trace.finished
        self._inc("requests", trace.endpoint, strategy, tier, trace.result)
        self._see("request_duration_seconds", end - trace.started, trace.endpoint, strategy)
        self._see("overhead_seconds", trace.overhead_s(end), trace.endpoint)
        if trace.ttft_s is not None:
            self._see("time_to_first_token_seconds", trace.ttft_s, tier)
        if trace.gaps_s:
            gaps = self._observe["inter_token_latency_seconds"].labels(tier)
            for gap in trace.gaps_s:
                gaps.observe(gap)
        if trace.exhausted is not None:
            self._inc("budget_exhausted", trace.exhausted)
        for part in trace.degraded:
            self._inc("degraded", part)
        if trace.estimate is not None and trace.estimate.difficulty is not None:
            self._see("difficulty", trace.estimate.difficulty, trace.estimate.source)
        self._record_decision(trace)
        self._record_cache(trace)
        self._record_spending(trace)
        if trace.outcome is not None and trace.cache not in {"exact", "semantic"}:
            self._record_outcome(trace.outcome)

    def _record_decision(self, trace: Trace) -> None:
        decision = trace.decision
        if decision is None or not decision.basis:
            return
        plan = decision.plan or NONE
        self._inc("decisions", plan, decision.basis)
        if decision.predicted_quality is not None:
            self._see("predicted_quality", decision.predicted_quality, plan)

    def _record_cache(self, trace: Trace) -> None:
        if trace.cache in {None, "bypass"}:
            return
        if trace.shared:
            result = "shared"
        elif trace.cache == "exact":
            result = "hit"
        elif trace.waited_out:
            result = "follow_timeout"
        else:
            result = "error" if "cache" in trace.degraded else "miss"
        self._inc("cache_lookups", "exact", result)
        likeness = trace.likeness
        if likeness is not None:
            self._inc("cache_lookups", "semantic", likeness.result)
            if likeness.guard:
                self._inc("cache_false_hit_guard", likeness.guard)
        if trace.cache in {"exact", "semantic"} and trace.outcome is not None:
            usage = trace.outcome.usage
            self._inc("tokens_saved", "cache", by=usage.prompt_tokens + usage.completion_tokens)

    def _record_spending(self, trace: Trace) -> None:
        for tier, seconds in trace.waits:
            self._see("queue_wait_seconds", seconds, tier)
        if trace.samples is not None:
            self._inc("cache_lookups", "samples", trace.samples)
        if trace.resumed:
            self._inc("tokens_saved", "resumed", by=trace.resumed_tokens)
        for charge in trace.charges:
            usage, tier, purpose = charge.usage, charge.tier, charge.purpose
            self._inc(
                "tokens", tier, "prompt", purpose, by=usage.prompt_tokens - usage.cached_tokens
            )
            self._inc("tokens", tier, "cached", purpose, by=usage.cached_tokens)
            self._inc("tokens", tier, "completion", purpose, by=usage.completion_tokens)
            self._inc("cost_usd", tier, by=charge.cost_usd)

    def _record_outcome(self, outcome: Outcome) -> None:
        strategy = outcome.strategy
        resumed = sum(candidate.resumed for candidate in outcome.candidates)
        self._inc("samples", strategy, "resumed", by=resumed)
        self._inc("samples", strategy, "finished", by=len(outcome.candidates) - resumed)
        self._inc("samples", strategy, "failed", by=len(outcome.failures))
        self._inc("samples", strategy, "cancelled", by=outcome.cancelled)
        self._inc("samples_cancelled", strategy, by=outcome.cancelled)
        for reason, tokens in outcome.saved.items():
            self._inc("tokens_saved", reason, by=tokens)
        for segment in outcome.segments:
            self._inc("segment_tokens", segment.tier, by=segment.tokens)
            self._inc("reread_tokens", segment.tier, by=segment.reread_tokens)
        for move in outcome.escalations:
            self._inc("escalations", move.source, move.target, move.reason)
        for verdict in outcome.verdicts:
            if verdict.abstained:
                self._inc("verifier_abstained", outcome.verifier)
            else:
                self._see("verifier_score", verdict.score, outcome.verifier)
        for choice in outcome.choices:
            # What a worker echoes of a prompt comes first and is no part of the answer.
            echoed = max(0, len(choice.logprobs) - choice.usage.completion_tokens)
            if told := choice.logprobs[echoed:]:
                entropy = fmean(token_entropy(token) for token in told)
                self._see("entropy_nats", entropy, choice.tier)

    def _inc(self, name: str, *labels: str, by: float = 1) -> None:
        self._count[name].labels(*labels).inc(by)

    def _see(self, name: str, value: float, *labels: str) -> None:
        self._observe[name].labels(*labels).observe(value)


def _names(trace: Trace) -> tuple[str, str]:
    """Return the labels strategy and tier of a trace, as far as it got."""
    if trace.outcome is not None:
        return trace.outcome.strategy, trace.outcome.tier
    if trace.decision is not None:
        return trace.decision.strategy, trace.decision.tier
    return NONE, NONE
