import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.calls import Head
from entroute.decisions import Decision
from entroute.errors import BudgetExhausted, DeadlineExceeded, WorkerFailed, WorkerRejected
from entroute.evidence import Verdict
from entroute.protocols import Run, Streams
from entroute.strategies.parts import StrategyParts
from entroute.strategies.self_consistency import SelfConsistency, SelfConsistencyConfig
from entroute.strategies.votes import weighted
from entroute.types import ChatRequest, Completion
from entroute.verifiers.majority import Majority
from tests.builders import a_budget, a_request, a_run, a_tier, settle
from tests.fakes import FakeAlgebra, FakeVerifier, strategy_parts
from tests.scripted import FakeBackend, Script, fails, hangs, says
from tests.strategies.leaving import leave

FAILED = WorkerFailed("w", "answered 500")


def says_that(answer: object, **facts: Any) -> Script:
    return says("The answer ", f"is {answer}.", **facts)


def strategy(samples: int = 5) -> SelfConsistency:
    return SelfConsistencyConfig(samples=samples).build(strategy_parts())


def drawing(*scripts: Script, **facts: Any) -> tuple[FakeBackend, Run]:
    backend = FakeBackend(*scripts)
    return backend, a_run(a_tier("small", backend), **facts)


def purposes(run: Run) -> list[str]:
    return [charge.purpose for charge in run.ledger.charges]


async def test_the_majority_of_canonical_answers_wins() -> None:
    backend, run = drawing(*map(says_that, [41, 42, 43, "42.0", "84/2"]))
    outcome = await strategy().run(run)
    assert outcome.choices[0].content == "The answer is 42."
    assert (outcome.strategy, outcome.stop_reason) == ("self_consistency", "exhausted")
    assert [verdict.answer for verdict in outcome.verdicts] == ["41", "42", "43", "42", "42"]
    assert [verdict.score for verdict in outcome.verdicts] == pytest.approx(
        [0.2, 0.6, 0.2, 0.6, 0.6]
    )
    assert outcome.verifier == "majority"
    assert len(backend.calls) == 5
    assert sorted(purposes(run)) == ["answer"] + ["sample"] * 4


async def test_samples_are_seeded_one_by_one() -> None:
    backend, run = drawing(says_that(42), request=a_request(seed=7))
    await strategy(3).run(run)
    assert [call.sample for call in backend.calls] == [0, 1, 2]
    assert {call.purpose for call in backend.calls} == {"sample"}


async def test_samples_that_cannot_change_the_majority_are_cancelled() -> None:
    slow = hangs(after=1, pieces=("Let me ", "see"))
    backend, run = drawing(*map(says_that, [42, 42, 42]), slow, slow)
    outcome = await strategy().run(run)
    assert outcome.stop_reason == "settled"
    assert outcome.cancelled == 2
    assert len(outcome.candidates) == len(outcome.verdicts) == 3
    assert backend.cancelled == [3, 4]
    assert purposes(run).count("discarded") == 2
    assert all(c.usage.partial_calls == 1 for c in run.ledger.charges if c.purpose == "discarded")


async def test_an_open_vote_is_waited_for() -> None:
    gate = asyncio.Event()
    _, run = drawing(*map(says_that, [42, 42, 41]), says_that(41, gate=gate), says_that(41))
    task = asyncio.create_task(strategy().run(run))
    await settle()
    assert not task.done()
    gate.set()
    assert (await task).verdicts[0].answer is not None
    assert (await task).choices[0].content == "The answer is 41."


@given(st.lists(st.sampled_from([1, 2, 3, None]), min_size=5, max_size=5))
async def test_stopping_early_never_changes_the_winner(answers: list[int | None]) -> None:
    scripts = [says("I cannot say") if a is None else says_that(a) for a in answers]
    _, run = drawing(*scripts)
    outcome = await strategy().run(run)
    counts = {a: answers.count(a) for a in answers if a is not None}
    chosen = outcome.choices[0].content
    best = max(counts.values(), default=0)
    winners = {f"The answer is {a}." for a, count in counts.items() if count == best}
    assert chosen in (winners or {"I cannot say"})


async def test_failed_samples_are_named_and_the_rest_decides() -> None:
    _, run = drawing(says_that(41), fails(FAILED), says_that(42), fails(FAILED), says_that(42))
    outcome = await strategy().run(run)
    assert outcome.choices[0].content == "The answer is 42."
    assert len(outcome.failures) == 2
    assert "answered 500" in outcome.failures[0]
    assert len(outcome.candidates) == 3
    assert purposes(run).count("discarded") == 2


@pytest.mark.parametrize(
    "error",
    [
        FAILED,
        DeadlineExceeded("late"),
        WorkerRejected("w", "bad", status=400, param=None, code=None),
    ],
)
async def test_the_first_error_stands_when_all_samples_fail(error: Exception) -> None:
    _, run = drawing(fails(error))
    with pytest.raises(type(error)):
        await strategy(3).run(run)
    assert purposes(run) == ["discarded"] * 3


async def test_the_best_so_far_is_returned_at_the_deadline() -> None:
    late = fails(DeadlineExceeded("late"), after=1)
    _, run = drawing(says_that(42), late, late)
    outcome = await strategy(3).run(run)
    assert outcome.choices[0].content == "The answer is 42."
    assert outcome.stop_reason == "deadline"
    assert run.ledger.exhausted == "deadline"


async def test_fewer_calls_draw_fewer_samples() -> None:
    backend, run = drawing(*map(says_that, [1, 2, 3]), budget=a_budget(max_calls=3))
    outcome = await strategy().run(run)
    assert len(backend.calls) == 3
    assert outcome.stop_reason == "budget"
    assert run.ledger.exhausted == "max_calls"


async def test_samples_share_the_tokens_of_the_budget() -> None:
    backend, run = drawing(says_that(1), budget=a_budget(max_generated_tokens=50))
    await strategy().run(run)
    assert [call.max_tokens for call in backend.calls] == [10] * 5


async def test_a_budget_without_a_call_is_refused() -> None:
    _, run = drawing(says_that(1), budget=a_budget(max_calls=1))
    run.ledger.reserve("small", run.request, "probe")
    with pytest.raises(BudgetExhausted):
        await strategy().run(run)


async def test_a_verifier_weighs_the_votes_and_sees_all_samples() -> None:
    scores = {"The answer is 41.": 0.3, "The answer is 42.": 0.9, "The answer is 43.": 0.1}
    backend, run = drawing(*map(says_that, [41, 41, 42, 43, 43]), verifier=FakeVerifier(scores))
    outcome = await strategy().run(run)
    assert outcome.choices[0].content == "The answer is 42."
    assert outcome.verifier == "fake"
    assert outcome.cancelled == 0
    assert len(backend.calls) == 5
    assert outcome.verdicts[2].score == pytest.approx(0.9 / (0.6 + 0.9 + 0.2))


@pytest.mark.parametrize(
    ("scores", "degraded"),
    [({}, ["verifier"]), (dict.fromkeys(("The answer is 42.", "The answer is 41."), 0.0), [])],
)
async def test_plain_votes_stand_where_the_verifier_weighs_no_answer(
    scores: dict[str, float], degraded: list[str]
) -> None:
    _, run = drawing(*map(says_that, [42, 42, 41]), verifier=FakeVerifier(scores))
    outcome = await strategy(3).run(run)
    assert outcome.choices[0].content == "The answer is 42."
    assert outcome.verdicts[0].score == pytest.approx(2 / 3)
    assert (outcome.verifier, run.trace.degraded) == ("majority", degraded)


async def test_samples_without_an_answer_have_no_vote() -> None:
    _, run = drawing(says("Hm."), says("Hm."), says_that(42))
    outcome = await strategy(3).run(run)
    assert outcome.choices[0].content == "The answer is 42."
    assert [verdict.abstained for verdict in outcome.verdicts] == [True, True, False]


async def test_a_probes_stream_goes_on_as_the_first_sample() -> None:
    backend, run = drawing(*map(says_that, [42] * 3))
    call = run.reserve(run.tiers[0], "probe")
    rest = run.tiers[0].backend.stream(call)
    run.head = Head("small", call, [await anext(rest)], rest)
    outcome = await strategy(3).run(run)
    assert len(backend.calls) == 3
    assert outcome.candidates[0].call_id == call.id
    assert "probe" not in purposes(run)


async def test_a_probe_of_another_tier_is_cancelled_and_charged() -> None:
    small = FakeBackend(hangs(after=2))
    large = FakeBackend(*map(says_that, [42] * 3), tier="large")
    decision = Decision("large", "self_consistency", "test")
    run = a_run(a_tier("small", small), a_tier("large", large), decision=decision)
    call = run.reserve(run.tiers[0], "probe")
    rest = run.tiers[0].backend.stream(call)
    run.head = Head("small", call, [await anext(rest)], rest)
    await strategy(3).run(run)
    assert small.cancelled == [call.id]
    assert purposes(run)[0] == "probe"


def test_temperature_zero_and_several_choices_are_refused_by_name() -> None:
    made = strategy()
    assert not isinstance(made, Streams)
    requests = [a_request(), a_request(temperature=0.0), a_request(temperature=0.7), a_request(n=2)]
    refused = [made.supports(a_run(a_tier("small"), request=request)) for request in requests]
    assert [refusal and refusal.param for refusal in refused] == [None, "temperature", None, "n"]


async def test_leaving_cancels_every_sample() -> None:
    backend, run = drawing(hangs(after=1))
    await leave(strategy(), run, backend, live=5)
    assert len(run.ledger.charges) == 5


scores = st.floats(0, 1)
judged = st.lists(
    st.tuples(st.sampled_from(["a", "b", None]), st.none() | scores), min_size=1, max_size=6
)


@given(judged)
def test_weighted_votes_are_shares_in_zero_to_one(pairs: list[tuple[str | None, float | None]]):
    votes = [Verdict(0.5, answer=answer) for answer, _ in pairs]
    verdicts = [Verdict(score or 0.0, abstained=score is None) for _, score in pairs]
    result = weighted(votes, verdicts)
    assert len(result) == len(votes)
    assert all(0 <= verdict.score <= 1 + 1e-9 for verdict in result)
    by_answer: dict[str | None, set[float]] = {}
    for verdict in result:
        by_answer.setdefault(verdict.answer, set()).add(verdict.score)
    assert all(len(found) == 1 for found in by_answer.values())


async def test_a_budget_too_small_for_all_samples_draws_what_it_holds() -> None:
    backend, run = drawing(says_that(1), budget=a_budget(max_generated_tokens=2))
    outcome = await strategy().run(run)
    assert [call.max_tokens for call in backend.calls] == [1, 1]
    assert outcome.stop_reason == "budget"


async def test_an_early_majority_of_fewer_samples_than_wanted_is_cut_by_the_budget() -> None:
    _, run = drawing(says_that(42), says_that(42), hangs(), budget=a_budget(max_calls=3))
    outcome = await strategy().run(run)
    assert (outcome.cancelled, outcome.stop_reason) == (1, "budget")


async def test_a_chosen_sample_cut_at_the_budgets_cap_says_so() -> None:
    long = says_that(42, finish_reason="length")
    _, run = drawing(long, budget=a_budget(max_generated_tokens=6))
    assert (await strategy(3).run(run)).stop_reason == "budget"


class Stuck(FakeAlgebra):
    """Never says whether two formulas are equal."""

    async def same(self, a: str, b: str) -> bool | None:
        await asyncio.Event().wait()
        return None


class Undecided(FakeVerifier):
    """Never says what it thinks."""

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        await asyncio.Event().wait()
        return ()


async def test_a_vote_that_is_not_counted_at_the_deadline_goes_by_what_is_known() -> None:
    formulas = [says(rf"\boxed{{\sqrt{{{n}}}}}") for n in (8, 8, 7, 6)]
    backend, run = drawing(*formulas, hangs(), budget=a_budget(deadline=100.05))
    outcome = await SelfConsistency(5, StrategyParts(Majority(Stuck()))).run(run)
    assert outcome.choices[0].content == r"\boxed{\sqrt{8}}"
    assert (outcome.stop_reason, run.ledger.exhausted) == ("deadline", "deadline")
    assert [verdict.abstained for verdict in outcome.verdicts] == [False, False, True]
    assert backend.running == 0


async def test_plain_votes_stand_where_the_verifier_does_not_judge_in_time() -> None:
    budget, verifier = a_budget(deadline=100.05), Undecided({})
    _, run = drawing(*map(says_that, [41, 42, 42]), verifier=verifier, budget=budget)
    outcome = await strategy(3).run(run)
    assert outcome.choices[0].content == "The answer is 42."
    assert (outcome.stop_reason, run.ledger.exhausted) == ("deadline", "deadline")
    assert outcome.verifier == "majority"


async def test_all_samples_move_to_another_tier_where_all_fail() -> None:
    run = a_run(a_tier("small", fails(FAILED)), a_tier("large", says_that(42)))
    outcome = await strategy(3).run(run)
    assert outcome.tier == "large"
    (move,) = outcome.escalations
    assert (move.source, move.target, move.reason) == ("small", "large", "unavailable")
    assert run.trace.degraded == ["tier:small"]
    assert purposes(run)[:3] == ["discarded"] * 3


@pytest.mark.parametrize("facts", [{"pinned": "small"}, {"budget": a_budget(max_calls=3)}])
async def test_all_samples_failed_stands_where_none_may_move(facts: dict[str, Any]) -> None:
    large = FakeBackend(says_that(42))
    run = a_run(a_tier("small", fails(FAILED)), a_tier("large", large), **facts)
    with pytest.raises(WorkerFailed):
        await strategy(3).run(run)
    assert large.calls == []
