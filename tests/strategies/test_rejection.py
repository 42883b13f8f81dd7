import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.errors import DeadlineExceeded, WorkerFailed
from entroute.strategies.rejection import Rejection, RejectionConfig, filtered
from entroute.verifiers import build_verifier
from tests.builders import a_budget, a_request, refused
from tests.fakes import FakeVerifier, strategy_parts, verifier_parts
from tests.scripted import Script, fails, hangs, says
from tests.strategies.programming import drawing, purposes, spent

FAILED = WorkerFailed("w", "answered 500")
JUDGE = FakeVerifier({"right": 1.0, "close": 0.9, "far": 0.2, "wrong": 0.0})

EXACT = {"verifier": {"kind": "exact", "answer": "42"}}
VOTE = {"verifier": {"kind": "majority"}}
UNWEIGHTED = {"verifier": {"kind": "self_certainty"}, "weight": 0}


def rejection(**facts: Any) -> Rejection:
    return RejectionConfig(**facts).build(strategy_parts())


def told(*answers: str) -> list[Script]:
    return [says(answer) for answer in answers]


async def test_the_first_sample_is_accepted_alone() -> None:
    backend, run = drawing(*told("right"), verifier=JUDGE)
    outcome = await rejection().run(run)
    assert (outcome.stop_reason, outcome.verifier) == ("verified", "fake")
    assert len(backend.calls) == 1
    assert purposes(run) == ["answer"]
    assert outcome.saved["undrawn"] == 7


async def test_waves_grow_until_one_is_accepted() -> None:
    backend, run = drawing(*told("wrong", "wrong", "far", "right"), verifier=JUDGE)
    outcome = await rejection().run(run)
    assert outcome.choices[0].content == "right"
    assert len(backend.calls) == 1 + 2 + 4
    assert [call.sample for call in backend.calls] == list(range(7))


async def test_the_losers_of_a_wave_are_cancelled() -> None:
    backend, run = drawing(says("wrong"), says("right"), hangs(after=1), verifier=JUDGE)
    async with asyncio.timeout(30):
        outcome = await rejection().run(run)
    assert outcome.stop_reason == "verified"
    assert (outcome.cancelled, backend.cancelled) == (1, [2])
    assert purposes(run) == ["sample", "answer", "discarded"]


async def test_a_tier_that_is_rejected_is_left_for_the_next() -> None:
    backend, run = drawing(says("wrong"), large=says("right"), verifier=JUDGE)
    outcome = await rejection(samples=3).run(run)
    assert (outcome.tier, outcome.stop_reason) == ("large", "verified")
    assert [(m.source, m.target, m.reason) for m in outcome.escalations] == [
        ("small", "large", "rejected")
    ]
    assert len(backend.calls) == 3
    assert len(outcome.candidates) == len(outcome.verdicts) == 4


async def test_nothing_accepted_anywhere_returns_the_best_score() -> None:
    _, run = drawing(*told("wrong", "close", "far"), large=says("far"), verifier=JUDGE)
    outcome = await rejection(samples=3).run(run)
    assert (outcome.choices[0].content, outcome.stop_reason) == ("close", "exhausted")
    assert sorted(purposes(run)) == ["answer"] + ["sample"] * 5


async def test_a_tie_goes_to_the_larger_tier() -> None:
    _, run = drawing(says("far"), large=says("far"), verifier=JUDGE)
    assert (await rejection(samples=2).run(run)).tier == "large"


async def test_a_lower_bar_accepts_more() -> None:
    backend, run = drawing(says("close"), verifier=JUDGE)
    assert (await rejection(accept=0.9).run(run)).stop_reason == "verified"
    assert len(backend.calls) == 1


async def test_an_abstaining_verdict_never_accepts_and_nobody_judging_ends_it() -> None:
    backend, run = drawing(says("never heard of"), large=says("right"), verifier=JUDGE)
    outcome = await rejection().run(run)
    assert (outcome.tier, outcome.stop_reason) == ("small", "exhausted")
    assert len(backend.calls) == 3
    assert run.trace.degraded == ["verifier"]


async def test_each_sample_is_judged_once() -> None:
    seen: list[str] = []

    class Counting(FakeVerifier):
        async def score(self, request, candidates):
            seen.extend(candidate.content for candidate in candidates)
            return await super().score(request, candidates)

    _, run = drawing(*told("wrong", "far", "close", "right"), verifier=Counting({"right": 1.0}))
    await rejection(waves=(1,)).run(run)
    assert seen == ["wrong", "far", "close"]  # all abstained: three were enough


async def test_temperature_zero_draws_one_sample_a_tier() -> None:
    facts = {"request": a_request(temperature=0), "verifier": JUDGE}
    backend, run = drawing(says("wrong"), large=says("right"), **facts)
    assert (await rejection().run(run)).tier == "large"
    assert len(backend.calls) == 1


async def test_a_pinned_tier_is_not_left() -> None:
    _, run = drawing(says("wrong"), large=says("right"), verifier=JUDGE, pinned="small")
    outcome = await rejection(samples=2).run(run)
    assert (outcome.tier, outcome.stop_reason) == ("small", "exhausted")


async def test_one_call_is_left_for_the_larger_tier() -> None:
    budget = a_budget(max_calls=3)
    backend, run = drawing(says("wrong"), large=says("right"), verifier=JUDGE, budget=budget)
    outcome = await rejection().run(run)
    assert (outcome.tier, outcome.stop_reason) == ("large", "verified")
    assert len(backend.calls) == 2
    assert [move.reason for move in outcome.escalations] == ["rejected"]


@given(st.integers(1, 20))
async def test_a_budget_of_few_calls_still_answers(calls: int) -> None:
    budget = a_budget(max_calls=calls)
    _, run = drawing(says("wrong"), large=says("far"), verifier=JUDGE, budget=budget)
    outcome = await rejection().run(run)
    assert len(run.ledger.charges) == min(calls, 16)
    assert outcome.stop_reason == ("budget" if calls < 16 else "exhausted")
    assert run.ledger.exhausted == ("max_calls" if calls < 16 else None)
    assert outcome.choices[0].content == ("wrong" if calls == 1 else "far")


async def test_a_larger_tier_that_fails_leaves_the_best_so_far() -> None:
    _, run = drawing(says("close"), large=fails(FAILED), verifier=JUDGE)
    outcome = await rejection(samples=1).run(run)
    assert (outcome.choices[0].content, outcome.stop_reason) == ("close", "exhausted")
    assert run.trace.degraded == ["tier:large"]
    assert outcome.escalations == ()


@pytest.mark.parametrize(
    ("error", "stop"),
    [(DeadlineExceeded("late"), "deadline"), (FAILED, "exhausted")],
)
async def test_a_larger_tier_that_cannot_be_had_in_time_leaves_the_best_so_far(
    error: Exception, stop: str
) -> None:
    _, run = drawing(says("close"), large=fails(error), verifier=JUDGE)
    outcome = await rejection(samples=1).run(run)
    assert (outcome.choices[0].content, outcome.stop_reason) == ("close", stop)


async def test_charges_are_what_the_calls_made() -> None:
    _, run = drawing(*told("wrong", "far", "close"), large=says("right"), verifier=JUDGE)
    outcome = await rejection(samples=3).run(run)
    assert spent(run) == sum(sample.usage.completion_tokens for sample in outcome.candidates)


async def test_a_smaller_tier_that_fails_is_replaced() -> None:
    _, run = drawing(fails(FAILED), large=says("right"), verifier=JUDGE)
    outcome = await rejection().run(run)
    assert [move.reason for move in outcome.escalations] == ["unavailable"]
    assert outcome.tier == "large"


async def test_the_error_stands_where_every_tier_fails() -> None:
    _, run = drawing(fails(FAILED), large=fails(FAILED), verifier=JUDGE)
    with pytest.raises(WorkerFailed):
        await rejection().run(run)


async def test_the_deadline_returns_the_best_so_far() -> None:
    late = fails(DeadlineExceeded("late"), after=1)
    _, run = drawing(says("close"), late, large=says("right"), verifier=JUDGE)
    outcome = await rejection().run(run)
    assert (outcome.choices[0].content, outcome.stop_reason) == ("close", "deadline")
    assert run.ledger.exhausted == "deadline"


async def test_a_judge_that_is_slower_than_the_deadline_costs_only_its_verdict() -> None:
    class Slow(FakeVerifier):
        async def score(self, request, candidates):
            await asyncio.Event().wait()

    late = a_budget(deadline=100.05)
    _, run = drawing(says("right"), verifier=Slow({}), budget=late)
    outcome = await rejection().run(run)
    assert (outcome.choices[0].content, outcome.stop_reason) == ("right", "deadline")
    assert outcome.verdicts[0].abstained


def test_a_request_without_a_verifier_is_refused() -> None:
    _, run = drawing(says("right"))
    assert refused(rejection(), run) == "entroute.verifier"


@pytest.mark.parametrize(
    ("option", "param"),
    [
        ({"kind": "majority"}, "entroute.verifier"),
        ({"kind": "self_certainty"}, "entroute.verifier"),
        (
            {"kind": "weighted", "parts": [EXACT, {"verifier": {"kind": "majority"}}]},
            "entroute.verifier",
        ),
        ({"kind": "weighted", "parts": [EXACT, UNWEIGHTED]}, None),
        ({"kind": "weighted", "parts": [EXACT]}, None),
        ({"kind": "exact", "answer": "42"}, None),
    ],
)
def test_a_verifier_that_compares_samples_judges_no_single_one(
    option: dict[str, Any], param: str | None
) -> None:
    _, run = drawing(says("right"), verifier=build_verifier(option, verifier_parts()))
    assert refused(rejection(), run) == param


def test_several_choices_are_refused_and_tools_are_not() -> None:
    _, two = drawing(says("right"), verifier=JUDGE, request=a_request(n=2))
    assert refused(rejection(), two) == "n"
    _, tools = drawing(says("right"), verifier=JUDGE, request=a_request(extra={"tools": [{}]}))
    assert refused(rejection(), tools) is None


RATES = st.floats(0, 1)


@given(RATES, RATES, RATES)
def test_filtering_helps_exactly_where_right_answers_pass_more_often(
    pi: float, right: float, wrong: float
) -> None:
    made = filtered(pi, right, wrong)
    assert 0 <= made.accuracy <= 1
    assert made.draws >= 1 - 1e-9
    if made.draws < 1e6 and 0.01 < pi < 0.99 and abs(right - wrong) > 1e-6:
        assert (made.accuracy > pi) == (right > wrong)


def test_a_perfect_verifier_costs_one_over_the_pass_rate() -> None:
    assert filtered(0.25, 1, 0).accuracy == 1
    assert filtered(0.25, 1, 0).draws == 4
    assert filtered(0.5, 0.9, 0.1).accuracy == pytest.approx(0.9)
    assert filtered(0, 1, 0).draws == float("inf")


def test_impossible_rates_are_named() -> None:
    with pytest.raises(ValueError, match=r"1\.5"):
        filtered(1.5, 1, 0)


@given(st.lists(st.booleans(), min_size=8, max_size=8), st.sampled_from([(1,), (1, 2, 4), (8,)]))
async def test_whatever_the_waves_the_first_accepted_sample_is_delivered(
    rights: list[bool], waves: tuple[int, ...]
) -> None:
    scripts = [says("right" if right else "wrong") for right in rights]
    backend, run = drawing(*scripts, verifier=JUDGE)
    outcome = await rejection(waves=waves).run(run)
    assert (outcome.stop_reason == "verified") == any(rights)
    assert (outcome.choices[0].content == "right") == any(rights)
    assert len(run.ledger.charges) == len(backend.calls) <= 8
    assert backend.running == 0


async def test_a_judge_that_says_nothing_is_the_reason_and_not_the_clipped_wave() -> None:
    _, run = drawing(*told("?"), verifier=FakeVerifier({}), budget=a_budget(max_calls=5))
    outcome = await rejection(samples=8).run(run)
    assert (outcome.stop_reason, run.trace.degraded) == ("exhausted", ["verifier"])
