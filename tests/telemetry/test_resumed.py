"""How resumed samples and kept results of programs are told."""

from prometheus_client import CollectorRegistry

from entroute.api.explain import evidence_of
from entroute.evidence import Outcome
from entroute.telemetry.caching import ExecutionMetrics
from entroute.telemetry.logs import line_of
from entroute.telemetry.metrics import Metrics
from tests.builders import a_completion, a_trace

KEPT = a_completion("42", resumed=True)
OUTCOME = Outcome((KEPT,), "self_consistency", "settled", candidates=(KEPT, KEPT, a_completion()))


def test_resumed_samples_are_counted_beside_finished_ones() -> None:
    registry = CollectorRegistry()
    trace = a_trace(outcome=OUTCOME, cache="miss", samples="hit", finished=101.0)
    trace.note_resumed([KEPT, KEPT])
    Metrics(registry).record(trace)
    vote = {"strategy": "self_consistency"}
    expected = {
        ("samples_total", ("result", "resumed")): 2,
        ("samples_total", ("result", "finished")): 1,
    }
    for (name, label), count in expected.items():
        assert registry.get_sample_value(f"entroute_{name}", dict([label], **vote)) == count
    saved = registry.get_sample_value("entroute_tokens_saved_total", {"reason": "resumed"})
    assert saved == 2 * (KEPT.usage.prompt_tokens + KEPT.usage.completion_tokens)
    looked = {"kind": "samples", "result": "hit"}
    assert registry.get_sample_value("entroute_cache_lookups_total", looked) == 1


def test_the_log_line_says_how_many_calls_were_resumed() -> None:
    trace = a_trace(outcome=OUTCOME)
    assert "resumed" not in line_of(trace)
    trace.note_resumed([KEPT, KEPT])
    assert line_of(trace)["resumed"] == 2


def test_the_evidence_says_which_candidates_were_resumed() -> None:
    evidence = evidence_of(a_trace(), OUTCOME)
    assert evidence["resumed"] == 2
    assert [c["resumed"] for c in evidence["candidates"]] == [True, True, False]


def test_what_became_of_programs_is_exported() -> None:
    registry = CollectorRegistry()
    counts = {"hit": 0, "miss": 1}
    registry.register(ExecutionMetrics(counts))
    counts["hit"] += 2
    assert registry.get_sample_value("entroute_executions_total", {"result": "hit"}) == 2
    assert registry.get_sample_value("entroute_executions_total", {"result": "miss"}) == 1
