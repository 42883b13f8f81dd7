import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from entroute.errors import BudgetExhausted, WorkerFailed
from entroute.evidence import Verdict
from entroute.protocols import Run, Streams
from entroute.strategies.best_of_n import BestOfN, BestOfNConfig
from entroute.types import ChatRequest, Completion
from tests.builders import a_budget, a_request, a_run, a_tier, refused
from tests.fakes import FakeVerifier, strategy_parts, voter
from tests.scripted import FakeBackend, Script, fails, hangs, says, unsure
from tests.strategies.leaving import leave

FAILED = WorkerFailed("w", "answered 500")


def strategy(samples: int = 4, **facts: Any) -> BestOfN:
    return BestOfNConfig(samples=samples, **facts).build(strategy_parts())


def drawing(*scripts: Script, **facts: Any) -> tuple[FakeBackend, Run]:
    backend = FakeBackend(*scripts)
    return backend, a_run(a_tier("small", backend), **facts)


class Counting(FakeVerifier):
    """Remembers what it was asked about; never says anything about `stuck`."""

    def __init__(self, scores: dict[str, float], *, stuck: str | None = None) -> None:
        super().__init__(scores)
        self.asked: list[str] = []
        self._stuck = stuck

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        self.asked += [candidate.content for candidate in candidates]
        if any(candidate.content == self._stuck for candidate in candidates):
            await asyncio.Event().wait()
        return await super().score(request, candidates)


async def test_the_best_score_wins() -> None:
    scores = {"a": 0.2, "b": 0.7, "c": 0.9, "d": 0.1}
    backend, run = drawing(*map(says, scores), verifier=FakeVerifier(scores))
    outcome = await strategy().run(run)
    assert outcome.choices[0].content == "c"
    assert (outcome.strategy, outcome.stop_reason) == ("best_of_n", "exhausted")
    assert outcome.verifier == "fake"
    assert [verdict.score for verdict in outcome.verdicts] == list(scores.values())
    assert len(backend.calls) == 4
    assert [c.purpose for c in run.ledger.charges] == ["sample", "sample", "answer", "sample"]


@given(st.lists(st.none() | st.sampled_from([0.0, 0.3, 0.8]), min_size=2, max_size=8))
async def test_the_first_of_the_best_wins_and_an_abstention_is_never_better(
    scores: list[float | None],
) -> None:
    known = {str(i): score for i, score in enumerate(scores) if score is not None}
    _, run = drawing(*(says(str(i)) for i in range(len(scores))), verifier=FakeVerifier(known))
    outcome = await strategy(len(scores)).run(run)
    best = max((score or 0.0 for score in scores), default=0.0)
    assert outcome.choices[0].content == str([score or 0.0 for score in scores].index(best))
    assert ("verifier" in run.trace.degraded) == (not known)


async def test_a_good_enough_sample_cancels_the_rest() -> None:
    backend, run = drawing(says("a"), says("b"), hangs(after=1), verifier=FakeVerifier({"b": 1.0}))
    outcome = await strategy().run(run)
    assert outcome.choices[0].content == "b"
    assert (outcome.stop_reason, outcome.cancelled) == ("verified", 2)
    assert backend.cancelled == [2, 3]
    assert [c.purpose for c in run.ledger.charges].count("discarded") == 2


async def test_enough_may_be_less_than_everything() -> None:
    verifier = FakeVerifier({"a": 0.79, "b": 0.8})
    _, run = drawing(says("a"), says("b"), hangs(), verifier=verifier)
    outcome = await strategy(3, enough=0.8).run(run)
    assert (outcome.choices[0].content, outcome.stop_reason) == ("b", "verified")


async def test_each_sample_is_judged_once() -> None:
    verifier = Counting({"a": 0.1, "b": 0.2, "c": 0.3})
    _, run = drawing(*map(says, "abc"), verifier=verifier)
    await strategy(3).run(run)
    assert sorted(verifier.asked) == ["a", "b", "c"]


async def test_a_verifier_that_compares_is_asked_at_the_end() -> None:
    answers = ["It is 1.", "It is 2.", "It is 2."]
    backend, run = drawing(*map(says, answers), verifier=voter())
    outcome = await strategy(3, enough=0.3).run(run)
    assert outcome.choices[0].content == "It is 2."
    assert (outcome.verifier, outcome.stop_reason) == ("majority", "exhausted")
    assert backend.cancelled == []
    assert [verdict.score for verdict in outcome.verdicts] == pytest.approx([1 / 3, 2 / 3, 2 / 3])


async def test_without_a_verifier_the_likeliest_sample_wins_and_the_outcome_says_so() -> None:
    backend, run = drawing(unsure("a"), says("b"), unsure("c"))
    outcome = await strategy(3).run(run)
    assert outcome.choices[0].content == "b"
    assert outcome.verifier == "likelihood"
    assert [v.score for v in outcome.verdicts] == pytest.approx([0.5, 0.999, 0.5])
    assert {call.top_logprobs for call in backend.calls} == {5}
    assert (outcome.stop_reason, run.trace.degraded) == ("exhausted", [])


async def test_likelihood_never_stops_early() -> None:
    backend, run = drawing(says("c"), unsure("a"))
    await strategy(2, enough=0.1).run(run)
    assert backend.cancelled == []


async def test_the_first_sample_stands_where_nothing_can_be_judged() -> None:
    backend = FakeBackend(says("a"), says("b"), logprobs=False)
    run = a_run(a_tier("small", backend))
    outcome = await strategy(2).run(run)
    assert outcome.choices[0].content == "a"
    assert all(verdict.abstained for verdict in outcome.verdicts)
    assert run.trace.degraded == ["verifier"]


async def test_the_best_so_far_is_returned_where_judging_outlasts_the_deadline() -> None:
    verifier = Counting({"a": 0.2, "b": 0.6}, stuck="c")
    budget = a_budget(deadline=100.05)
    backend, run = drawing(*map(says, "abc"), hangs(), verifier=verifier, budget=budget)
    outcome = await strategy().run(run)
    assert outcome.choices[0].content == "b"
    assert (outcome.stop_reason, run.ledger.exhausted) == ("deadline", "deadline")
    assert [verdict.abstained for verdict in outcome.verdicts] == [False, False, True]
    assert backend.running == 0


async def test_the_first_sample_stands_where_a_comparison_outlasts_the_deadline() -> None:
    verifier = Counting({}, stuck="a")
    verifier.name = "majority"
    _, run = drawing(*map(says, "ab"), verifier=verifier, budget=a_budget(deadline=100.05))
    outcome = await strategy(2).run(run)
    assert (outcome.choices[0].content, outcome.stop_reason) == ("a", "deadline")
    assert run.trace.degraded == ["verifier"]


async def test_failures_are_named_and_the_rest_is_judged() -> None:
    verifier = FakeVerifier({"a": 0.1, "b": 0.2})
    _, run = drawing(says("a"), fails(FAILED), says("b"), verifier=verifier)
    outcome = await strategy(3).run(run)
    assert outcome.choices[0].content == "b"
    assert len(outcome.failures) == 1


async def test_another_tier_answers_where_all_fail() -> None:
    run = a_run(a_tier("small", fails(FAILED)), a_tier("large", says("a")))
    outcome = await strategy(2).run(run)
    assert outcome.tier == "large"
    assert [move.reason for move in outcome.escalations] == ["unavailable"]


async def test_a_short_budget_draws_fewer_and_none_is_refused() -> None:
    _, run = drawing(says("a"), budget=a_budget(max_calls=3))
    outcome = await strategy().run(run)
    assert (len(outcome.candidates), outcome.stop_reason) == (3, "budget")
    backend, run = drawing(says("a"), budget=a_budget(max_calls=0))
    with pytest.raises(BudgetExhausted):
        await strategy().run(run)
    assert backend.calls == []


async def test_a_judge_that_compares_ends_nothing_early() -> None:
    judge = FakeVerifier({"a": 1.0, "b": 0.2, "c": 0.3})
    judge.compares = True
    backend, run = drawing(says("a"), says("b"), says("c"), verifier=judge)
    outcome = await strategy(3).run(run)
    assert (outcome.choices[0].content, outcome.stop_reason) == ("a", "exhausted")
    assert (len(backend.calls), len(outcome.candidates)) == (3, 3)


async def test_leaving_cancels_every_sample() -> None:
    backend, run = drawing(hangs(after=1))
    await leave(strategy(), run, backend, live=4)
    assert len(run.ledger.charges) == 4


def test_what_it_cannot_honour_is_named() -> None:
    made, tier = strategy(), a_tier("small")
    assert not isinstance(made, Streams)
    assert refused(made, a_run(tier, request=a_request(n=2))) == "n"
    assert refused(made, a_run(tier, request=a_request(temperature=0.0))) == "temperature"
    tools = a_request(extra={"tools": [{}]})
    assert refused(made, a_run(tier, request=tools, verifier=FakeVerifier({}))) is None


@pytest.mark.parametrize("wrong", [{"samples": 1}, {"samples": 65}, {"enough": 0}, {"m": 3}])
def test_a_configuration_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        BestOfNConfig(**wrong)
