import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from entroute.calls import Head
from entroute.errors import BudgetExhausted, WorkerRejected
from entroute.evidence import Verdict
from entroute.protocols import Streams
from entroute.strategies.parts import StrategyParts
from entroute.strategies.revising import REVISE_LINE, revision_of
from entroute.strategies.self_refine import SelfRefine, SelfRefineConfig
from entroute.types import ChatRequest, Completion
from entroute.verifiers.majority import Majority
from tests.builders import a_budget, a_completion, a_request, a_run, a_tier, refused
from tests.fakes import FakeAlgebra, FakeVerifier, voter
from tests.scripted import FakeBackend, fails, hangs, says
from tests.strategies.refines import FAILED, LATE, drawing, says_that, strategy, turns

# --- one chain -------------------------------------------------------------------------------


async def test_a_revision_sees_the_attempts_before_it_as_turns() -> None:
    backend, run = drawing(*map(says, "abcd"))
    await strategy().run(run)
    assert [turns(call.request) for call in backend.calls[:3]] == [
        [],
        ["assistant: a", f"user: {REVISE_LINE}"],
        ["assistant: a", f"user: {REVISE_LINE}", "assistant: b", f"user: {REVISE_LINE}"],
    ]
    assert [call.sample for call in backend.calls] == [0, 1, 2, 3]
    assert all(call.request.messages[0] == run.request.messages[0] for call in backend.calls)


@given(st.lists(st.sampled_from(["", "a", "b"]), max_size=8))
def test_a_revision_sees_at_most_the_last_four_attempts_with_text(texts: list[str]) -> None:
    request = a_request(temperature=0.3, extra={"top_p": 0.9})
    revised = revision_of(request, [a_completion(text) for text in texts])
    seen = [line.removeprefix("assistant: ") for line in turns(revised)[::2]]
    assert seen == [text for text in texts if text][-4:]
    assert turns(revised)[1::2] == [f"user: {REVISE_LINE}"] * len(seen)
    assert (revised.temperature, revised.extra) == (0.3, {"top_p": 0.9})
    assert request.messages == revised.messages[:1]


async def test_the_majority_over_all_attempts_wins() -> None:
    backend, run = drawing(*map(says_that, [1, 2, 2, 3]))
    outcome = await strategy().run(run)
    assert outcome.choices[0].content == "The answer is 2."
    assert outcome.choices[0].call_id == 2
    assert (outcome.strategy, outcome.verifier) == ("self_refine", "majority")
    assert outcome.stop_reason == "exhausted"
    assert len(backend.calls) == 4
    assert [c.purpose for c in run.ledger.charges] == ["sample", "sample", "answer", "sample"]


@pytest.mark.parametrize("answers", [("x", "y"), (1, 2)])
async def test_a_tie_goes_to_the_latest_revision(answers: tuple[object, ...]) -> None:
    _, run = drawing(*(says(f"{answer}") for answer in answers))
    outcome = await strategy(rounds=2).run(run)
    assert outcome.choices[0].content == f"{answers[-1]}"


async def test_revisions_that_cannot_change_the_majority_are_not_made() -> None:
    backend, run = drawing(says_that(42))
    outcome = await strategy(rounds=8).run(run)
    assert len(backend.calls) == 5
    assert (outcome.stop_reason, dict(outcome.saved)) == ("settled", {"undrawn": 6})


async def test_an_attempt_the_verifier_accepts_ends_the_chain() -> None:
    backend, run = drawing(*map(says, "abcd"), verifier=FakeVerifier({"a": 0.2, "b": 1.0}))
    outcome = await strategy().run(run)
    assert (outcome.choices[0].content, outcome.stop_reason) == ("b", "verified")
    assert outcome.verifier == "fake"
    assert len(backend.calls) == 2


async def test_the_best_score_wins_where_none_is_perfect() -> None:
    scores = {"a": 0.1, "b": 0.9, "c": 0.9, "d": 0.3}
    _, run = drawing(*map(says, "abcd"), verifier=FakeVerifier(scores))
    outcome = await strategy().run(run)
    assert (outcome.choices[0].content, outcome.stop_reason) == ("c", "exhausted")


async def test_votes_decide_where_the_verifier_abstains_on_all() -> None:
    _, run = drawing(*map(says_that, [1, 1, 2]), verifier=FakeVerifier({}))
    outcome = await strategy(rounds=3).run(run)
    assert outcome.choices[0].content == "The answer is 1."
    assert outcome.verifier == "majority"
    assert run.trace.degraded == ["verifier"]


async def test_a_majority_verifier_is_the_voter() -> None:
    request = a_request(extra={})
    backend, run = drawing(says_that(42), request=request, verifier=voter())
    outcome = await strategy(rounds=3).run(run)
    assert (outcome.verifier, outcome.stop_reason) == ("majority", "settled")
    assert len(backend.calls) == 2


async def test_a_verifier_that_compares_is_asked_at_the_end() -> None:
    verifier = FakeVerifier({"a": 0.5, "b": 1.0, "c": 0.5})
    verifier.compares = True
    backend, run = drawing(*map(says, "abc"), verifier=verifier)
    outcome = await strategy(rounds=3).run(run)
    assert (outcome.choices[0].content, outcome.stop_reason) == ("b", "exhausted")
    assert len(backend.calls) == 3


async def test_a_revision_that_fails_ends_the_chain_with_what_it_has() -> None:
    backend, run = drawing(says("a"), says("b"), fails(FAILED))
    outcome = await strategy().run(run)
    assert (outcome.choices[0].content, outcome.stop_reason) == ("b", "exhausted")
    assert len(outcome.failures) == 1
    assert len(backend.calls) == 3


async def test_a_prompt_grown_too_long_ends_the_chain_with_what_it_has() -> None:
    error = WorkerRejected("w", "too long", status=400, param=None, code="context_length_exceeded")
    run = a_run(a_tier("small", FakeBackend(says("a"), fails(error))), a_tier("large", says("b")))
    assert (await strategy().run(run)).choices[0].content == "a"


async def test_a_revision_at_the_deadline_leaves_what_there_is() -> None:
    _, run = drawing(says("a"), fails(LATE))
    outcome = await strategy().run(run)
    assert (outcome.choices[0].content, outcome.stop_reason) == ("a", "deadline")
    assert run.ledger.exhausted == "deadline"


@pytest.mark.parametrize("limits", [{"max_calls": 2}, {"max_generated_tokens": 2}])
async def test_a_revision_that_does_not_fit_the_budget_ends_the_chain(
    limits: dict[str, int],
) -> None:
    backend, run = drawing(says("a"), says("b"), budget=a_budget(**limits))
    outcome = await strategy().run(run)
    assert (outcome.choices[0].content, outcome.stop_reason) == ("b", "budget")
    assert len(backend.calls) == 2
    assert run.ledger.exhausted == next(iter(limits))


async def test_attempts_share_the_tokens_of_the_budget() -> None:
    backend, run = drawing(*map(says, "abcd"), budget=a_budget(max_generated_tokens=40))
    await strategy(2, 2).run(run)
    caps = [call.max_tokens for call in backend.calls]
    assert caps[:2] == [10, 10]
    assert all(10 <= (cap or 0) <= 20 for cap in caps[2:])


async def test_a_plan_that_settles_within_the_budget_has_exhausted_nothing() -> None:
    backend, run = drawing(says("7"), budget=a_budget(max_generated_tokens=6))
    outcome = await strategy(rounds=8).run(run)
    assert (len(backend.calls), outcome.stop_reason) == (5, "settled")
    assert run.ledger.exhausted is None


async def test_a_budget_without_a_call_is_refused() -> None:
    backend, run = drawing(says("a"), budget=a_budget(max_calls=0))
    with pytest.raises(BudgetExhausted):
        await strategy().run(run)
    assert backend.calls == []


async def test_a_probes_stream_goes_on_as_the_first_attempt() -> None:
    backend, run = drawing(says("a", "b"), says("c"))
    call = run.reserve(run.tiers[0], "probe")
    rest = run.tiers[0].backend.stream(call)
    run.head = Head("small", call, [await anext(rest)], rest)
    outcome = await strategy(rounds=2).run(run)
    assert [c.content for c in outcome.candidates] == ["ab", "c"]
    assert len(backend.calls) == 2
    assert "probe" not in [charge.purpose for charge in run.ledger.charges]


async def test_a_probe_of_another_tier_is_cancelled() -> None:
    small = FakeBackend(hangs(after=2))
    run = a_run(a_tier("large", says("a")), a_tier("small", small))
    call = run.reserve(run.tiers[1], "probe")
    rest = run.tiers[1].backend.stream(call)
    run.head = Head("small", call, [await anext(rest)], rest)
    assert (await strategy(rounds=2).run(run)).tier == "large"
    assert small.cancelled == [call.id]


# --- time and refusals -----------------------------------------------------------------------


class Slow(FakeVerifier):
    """Never says what it thinks of `stuck`."""

    def __init__(self, scores: dict[str, float], stuck: str) -> None:
        super().__init__(scores)
        self._stuck = stuck

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        if any(candidate.content == self._stuck for candidate in candidates):
            await asyncio.Event().wait()
        return await super().score(request, candidates)


async def test_the_best_so_far_is_returned_where_judging_outlasts_the_deadline() -> None:
    verifier = Slow({"a": 0.4}, stuck="b")
    _, run = drawing(*map(says, "abc"), verifier=verifier, budget=a_budget(deadline=100.05))
    outcome = await strategy().run(run)
    assert (outcome.choices[0].content, outcome.stop_reason) == ("a", "deadline")
    assert [verdict.abstained for verdict in outcome.verdicts] == [False, True]


class Stuck(FakeAlgebra):
    """Never says whether two formulas are equal."""

    async def same(self, a: str, b: str) -> bool | None:
        await asyncio.Event().wait()
        return None


async def test_the_latest_attempt_stands_where_neither_judge_nor_vote_is_in_time() -> None:
    formulas = [says(rf"\boxed{{\sqrt{{{n}}}}}") for n in (8, 7)]
    budget = a_budget(deadline=100.05)
    _, run = drawing(*formulas, verifier=FakeVerifier({}), budget=budget)
    made = SelfRefine(1, 2, StrategyParts(Majority(Stuck())))
    outcome = await made.run(run)
    assert outcome.choices[0].content == r"\boxed{\sqrt{7}}"
    assert outcome.stop_reason == "deadline"


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"n": 2}, "n"),
        ({"extra": {"tools": [{}]}}, "tools"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": 0.5}, None),
    ],
)
def test_what_it_cannot_honour_is_named(facts: dict[str, Any], field: str | None) -> None:
    made = strategy(2, 2)
    assert not isinstance(made, Streams)
    assert refused(made, a_run(a_tier("small"), request=a_request(**facts))) == field


def test_one_chain_may_be_cold_and_text_has_no_turns() -> None:
    made, tier = strategy(1, 2), a_tier("small")
    assert refused(made, a_run(tier, request=a_request(temperature=0.0))) is None
    text = ChatRequest(model="auto", prompt="Once upon a time")
    assert refused(made, a_run(tier, request=text)) == "prompt"


@pytest.mark.parametrize("wrong", [{"rounds": 1}, {"rounds": 9}, {"chains": 0}, {"chains": 17}])
def test_a_configuration_out_of_range_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        SelfRefineConfig(**wrong)
