"""A handful of traces, and what Prometheus reads of them."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from entroute.decisions import Decision, Estimate
from entroute.evidence import Escalation, Outcome, Trace, Verdict
from entroute.spending import Charge, Usage
from entroute.telemetry.metrics import Metrics
from tests.builders import a_completion, a_trace
from tests.scripted import coin

SMALL = Charge(0, "small", "discarded", Usage(10, 4, 3, 1, 1), 0.001)
LARGE = Charge(1, "large", "answer", Usage(10, 0, 20, 1), 0.02)


def answered(**facts: object) -> Trace:
    outcome = Outcome(
        choices=(a_completion(tier="large", logprobs=(coin(0.5), coin(0.5))),),
        strategy="cascade",
        stop_reason="escalated",
        candidates=(a_completion(), a_completion()),
        verdicts=(Verdict(0.55), Verdict(0.0, abstained=True)),
        verifier="confidence",
        charges=(SMALL, LARGE),
        escalations=(Escalation("small", "large", "unsure", 0.5),),
        cancelled=2,
        failures=("worker w: answered 500",),
    )
    trace = a_trace(
        streamed=True,
        cache="miss",
        estimate=Estimate(0.42, "probe"),
        decision=Decision("small", "cascade", "test"),
        outcome=outcome,
        charges=outcome.charges,
        degraded=["tier:medium"],
        result="ok",
        upstream_s=1.5,
        client_s=0.25,
        ttft_s=0.5,
        gaps_s=[0.1, 0.2],
        finished=102.0,
    )
    for name, value in facts.items():
        setattr(trace, name, value)
    return trace


def exported(*traces: Trace) -> CollectorRegistry:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for trace in traces:
        metrics.record(trace)
    return registry


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"entroute_{name}", labels)


def test_a_request_is_counted_by_how_it_ended() -> None:
    denied = a_trace(result="client_error", finished=100.0)
    registry = exported(answered(), answered(), denied)
    done = {"endpoint": "chat", "strategy": "cascade", "tier": "large", "outcome": "ok"}
    assert value(registry, "requests_total", **done) == 2
    refused = {"endpoint": "chat", "strategy": "none", "tier": "none", "outcome": "client_error"}
    assert value(registry, "requests_total", **refused) == 1


def test_a_request_that_ended_before_its_answer_is_counted_where_it_was_decided() -> None:
    lost = answered(outcome=None, result="cancelled")
    labels = {"endpoint": "chat", "strategy": "cascade", "tier": "small", "outcome": "cancelled"}
    registry = exported(lost)
    assert value(registry, "requests_total", **labels) == 1
    assert value(registry, "tokens_total", tier="large", kind="completion", purpose="answer") == 20


def test_times_are_seconds_and_the_gateways_own_share_excludes_upstream_and_client() -> None:
    registry = exported(answered())
    shared = {"endpoint": "chat", "strategy": "cascade"}
    assert value(registry, "request_duration_seconds_sum", **shared) == 2
    assert value(registry, "overhead_seconds_sum", endpoint="chat") == 0.25
    assert value(registry, "overhead_seconds_bucket", endpoint="chat", le="5e-05") == 0
    assert value(registry, "time_to_first_token_seconds_sum", tier="large") == 0.5
    assert value(registry, "inter_token_latency_seconds_count", tier="large") == 2
    assert value(registry, "inter_token_latency_seconds_sum", tier="large") == pytest.approx(0.3)


def test_tokens_and_cost_are_counted_by_tier_and_purpose() -> None:
    registry = exported(answered())
    small = {"tier": "small", "purpose": "discarded"}
    assert value(registry, "tokens_total", kind="prompt", **small) == 6
    assert value(registry, "tokens_total", kind="cached", **small) == 4
    assert value(registry, "tokens_total", kind="completion", **small) == 3
    assert value(registry, "tokens_total", kind="prompt", tier="large", purpose="answer") == 10
    assert value(registry, "cost_usd_total", tier="large") == 0.02


def test_samples_escalations_and_verdicts_are_counted() -> None:
    registry = exported(answered())
    assert value(registry, "samples_total", strategy="cascade", result="finished") == 2
    assert value(registry, "samples_total", strategy="cascade", result="failed") == 1
    assert value(registry, "samples_total", strategy="cascade", result="cancelled") == 2
    assert value(registry, "samples_cancelled_total", strategy="cascade") == 2
    move = {"from": "small", "to": "large", "reason": "unsure"}
    assert value(registry, "escalations_total", **move) == 1
    assert value(registry, "verifier_score_sum", verifier="confidence") == 0.55
    assert value(registry, "verifier_score_count", verifier="confidence") == 1
    assert value(registry, "verifier_abstained_total", verifier="confidence") == 1
    assert value(registry, "entropy_nats_sum", tier="large") == pytest.approx(0.693, abs=0.001)
    assert value(registry, "difficulty_sum", source="probe") == 0.42
    assert value(registry, "degraded_total", part="tier:medium") == 1


@pytest.mark.parametrize(
    ("facts", "result"),
    [
        ({"cache": "miss"}, "miss"),
        ({"cache": "miss", "degraded": ["cache"]}, "error"),
        ({"cache": "exact"}, "hit"),
        ({"cache": "exact", "shared": True}, "shared"),
        ({"cache": "miss", "waited_out": True}, "follow_timeout"),
    ],
)
def test_cache_look_ups_are_counted_by_result(facts: dict[str, object], result: str) -> None:
    registry = exported(answered(**facts))
    assert value(registry, "cache_lookups_total", kind="exact", result=result) == 1


def test_what_was_not_looked_up_is_no_look_up() -> None:
    registry = exported(answered(cache="bypass"), answered(cache=None))
    assert b"cache_lookups_total{" not in generate_latest(registry)


def test_a_hit_saves_tokens_and_spends_none() -> None:
    registry = exported(answered(cache="exact", charges=()))
    assert value(registry, "tokens_saved_total", reason="cache") == 10 + 3 + 10 + 20
    page = generate_latest(registry)
    assert b"entroute_tokens_total{" not in page
    assert b"entroute_samples_total{" not in page


def test_an_exhausted_limit_is_counted() -> None:
    registry = exported(answered(exhausted="max_calls"))
    assert value(registry, "budget_exhausted_total", limit="max_calls") == 1


@pytest.mark.parametrize(
    "odd",
    [
        {"token": "a", "logprob": 3.0, "top_logprobs": [{"token": "a", "logprob": 3.0}]},
        {"token": "a", "logprob": None},
        {"token": "a"},
    ],
)
def test_log_probabilities_that_are_nonsense_break_nothing(odd: dict[str, object]) -> None:
    outcome = Outcome((a_completion(logprobs=(odd,)),), "single", "settled")
    registry = exported(answered(outcome=outcome))
    assert value(registry, "entropy_nats_count", tier="small") == 1


def test_every_documented_name_that_a_trace_can_fill_is_exported() -> None:
    page = generate_latest(exported(answered(), answered(exhausted="deadline", cache="exact")))
    families = {line.split()[2] for line in page.decode().splitlines() if line.startswith("# TYPE")}
    assert families >= {
        f"entroute_{name}"
        for name in (
            "requests_total",
            "request_duration_seconds",
            "time_to_first_token_seconds",
            "inter_token_latency_seconds",
            "overhead_seconds",
            "tokens_total",
            "cost_usd_total",
            "samples_total",
            "samples_cancelled_total",
            "tokens_saved_total",
            "escalations_total",
            "difficulty",
            "entropy_nats",
            "verifier_score",
            "verifier_abstained_total",
            "cache_lookups_total",
            "budget_exhausted_total",
            "degraded_total",
        )
    }
    assert all(family.startswith("entroute_") for family in families)


def test_no_label_holds_what_a_client_wrote() -> None:
    trace = answered(request_id="secret-id", tenant="secret-tenant", error="Secret")
    assert b"secret" not in generate_latest(exported(trace)).lower()


def test_requests_in_flight_are_read_at_scrape() -> None:
    registry, busy = CollectorRegistry(), [0]
    Metrics(registry).export_in_flight(lambda: busy[0])
    assert value(registry, "requests_in_flight") == 0
    busy[0] = 3
    assert value(registry, "requests_in_flight") == 3


def test_the_version_is_the_label_of_a_constant() -> None:
    registry = CollectorRegistry()
    Metrics(registry).export_build("1.2.3")
    assert value(registry, "build_info", version="1.2.3") == 1
