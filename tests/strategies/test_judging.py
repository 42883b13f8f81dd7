import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.cache.key import worth_storing
from entroute.evidence import Verdict
from entroute.strategies.best_of_n import BestOfNConfig
from entroute.strategies.judging import (
    Likelihood,
    OneByOne,
    Unjudged,
    as_they_come,
    silenced,
    verdicts_of,
)
from entroute.strategies.rejection import RejectionConfig
from entroute.strategies.self_consistency import SelfConsistencyConfig
from entroute.strategies.self_refine import SelfRefineConfig
from entroute.types import ChatRequest, Completion
from tests.builders import a_budget, a_completion, a_request, a_run, a_tier
from tests.fakes import FakeVerifier, strategy_parts
from tests.scripted import FakeBackend, coin, says, token


class Counting(FakeVerifier):
    """Remembers what it was asked about."""

    def __init__(self) -> None:
        super().__init__({"a": 0.1, "b": 0.2, "c": 0.3})
        self.asked: list[list[str]] = []

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        self.asked.append([candidate.content for candidate in candidates])
        return await super().score(request, candidates)


def samples(texts: str) -> list[Completion]:
    return [a_completion(text, call_id=ord(text)) for text in texts]


async def test_a_candidate_is_judged_once_whatever_the_order() -> None:
    verifier = Counting()
    judge = OneByOne(verifier)
    await judge.score(a_request(), samples("b"))
    verdicts = await judge.score(a_request(), samples("cba"))
    again = await judge.score(a_request(), samples("abc"))
    assert verifier.asked == [["b"], ["c"], ["a"]]
    assert [verdict.score for verdict in verdicts] == [0.3, 0.2, 0.1]
    assert again == tuple(reversed(verdicts))
    assert await judge.score(a_request(), []) == ()


async def test_a_verifier_that_compares_waits_for_all() -> None:
    verifier = FakeVerifier({"a": 1.0})
    verifier.compares, verifier.top_logprobs, verifier.calls = True, 20, 3
    waiting = as_they_come(verifier)
    assert isinstance(waiting, Unjudged)
    assert (waiting.top_logprobs, waiting.calls) == (20, 3)
    assert [v.abstained for v in await waiting.score(a_request(), samples("ab"))] == [True, True]


def test_any_other_verifier_is_asked_at_once() -> None:
    judge = as_they_come(FakeVerifier({}))
    assert isinstance(judge, OneByOne)
    assert (judge.name, judge.top_logprobs) == ("fake", None)


@given(st.lists(st.floats(0.001, 0.999), min_size=1, max_size=20), st.integers(1, 4))
async def test_likelihood_is_the_geometric_mean_whatever_the_length(
    probabilities: list[float], times: int
) -> None:
    tokens = tuple(coin(p) for p in probabilities)
    once, longer = await Likelihood().score(
        a_request(), [a_completion(logprobs=tokens), a_completion(logprobs=tokens * times)]
    )
    assert min(probabilities) - 1e-9 <= once.score <= max(probabilities) + 1e-9
    assert longer.score == pytest.approx(once.score)


@pytest.mark.parametrize("logprobs", [(), ({"token": "a"},), (token(2.0),), ({"logprob": None},)])
async def test_without_log_probabilities_likelihood_abstains(logprobs: object) -> None:
    (verdict,) = await Likelihood().score(a_request(), [a_completion(logprobs=logprobs)])
    assert verdict.abstained


def test_the_score_of_an_abstention_means_nothing() -> None:
    verdicts = silenced([Verdict(0.9, "why", abstained=True, answer="a"), Verdict(0.4)])
    assert verdicts == (Verdict(0.0, "why", abstained=True, answer="a"), Verdict(0.4))


class Meeting(FakeVerifier):
    """Judges nobody until so many are being judged."""

    def __init__(self, scores: Mapping[str, float], parties: int) -> None:
        super().__init__(scores)
        self._all_here = asyncio.Barrier(parties)

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        await self._all_here.wait()
        return await super().score(request, candidates)


async def test_samples_that_ended_together_are_judged_together() -> None:
    verifier = Meeting({"a": 0.1, "b": 0.4, "c": 0.2}, parties=3)
    run = a_run(a_tier("small", FakeBackend(*map(says, "abc"))), verifier=verifier)
    async with asyncio.timeout(30):
        outcome = await BestOfNConfig(samples=3).build(strategy_parts()).run(run)
    assert outcome.choices[0].content == "b"
    assert [verdict.score for verdict in outcome.verdicts] == [0.1, 0.4, 0.2]


@pytest.mark.parametrize("own_clock", [True, False])
async def test_a_verdict_that_is_late_costs_no_other_one(own_clock: bool) -> None:  # noqa: FBT001
    class Stuck(FakeVerifier):
        async def score(
            self, request: ChatRequest, candidates: Sequence[Completion]
        ) -> tuple[Verdict, ...]:
            if candidates[0].content == "b":
                async with asyncio.timeout(0.02 if own_clock else None):
                    await asyncio.Event().wait()
            return await super().score(request, candidates)

    run = a_run(a_tier("small"), budget=a_budget(deadline=100.05))
    judged = await verdicts_of(run, OneByOne(Stuck({"a": 0.1, "c": 0.3})), samples("abc"))
    assert judged.late
    assert [(v.score, v.abstained) for v in judged.verdicts] == [
        (0.1, False),
        (0.0, True),
        (0.3, False),
    ]


async def test_what_says_the_same_is_judged_in_one_go() -> None:
    verifier = Counting()
    twins = [a_completion("a", call_id=1), a_completion("b"), a_completion("a", call_id=2)]
    verdicts = await OneByOne(verifier).score(a_request(), twins)
    assert sorted(verifier.asked) == [["a", "a"], ["b"]]
    assert [verdict.score for verdict in verdicts] == [0.1, 0.2, 0.1]


class Broken(FakeVerifier):
    """Fails on what it was not told."""

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        return tuple(
            replace(verdict, failed=verdict.abstained)
            for verdict in await super().score(request, candidates)
        )


class Recovering(Counting):
    """Fails on what it is asked for the first time."""

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        if [candidates[0].content] in self.asked:
            return await super().score(request, candidates)
        await super().score(request, candidates)
        return (Verdict(0.0, "out of order", abstained=True, failed=True),) * len(candidates)


async def test_a_candidate_on_which_the_verifier_failed_is_judged_again() -> None:
    verifier = Recovering()
    judge = OneByOne(verifier)
    (failed,) = await judge.score(a_request(), samples("a"))
    assert (failed.failed, judge.so_far(samples("a"))) == (True, (failed,))
    verdicts = await judge.score(a_request(), samples("ab"))
    assert [(v.score, v.failed) for v in verdicts] == [(0.1, False), (0.0, True)]
    await judge.score(a_request(), samples("ab"))
    assert verifier.asked == [["a"], ["a"], ["b"], ["b"]]


async def test_model_calls_that_failed_are_not_paid_for_again() -> None:
    verifier = Recovering()
    verifier.calls = 1
    judge = OneByOne(verifier)
    first = await judge.score(a_request(), samples("a"))
    assert await judge.score(a_request(), samples("a")) == first
    assert verifier.asked == [["a"]]


@pytest.mark.parametrize(
    "config",
    [
        BestOfNConfig(samples=3),
        SelfConsistencyConfig(samples=3),
        RejectionConfig(samples=3, waves=(3,)),
        SelfRefineConfig(rounds=3),
    ],
)
@pytest.mark.parametrize(("kind", "degraded"), [(Broken, ["verifier"]), (FakeVerifier, [])])
async def test_a_verifier_that_failed_on_one_sample_leaves_no_whole_answer(
    config: BestOfNConfig, kind: type[FakeVerifier], degraded: list[str]
) -> None:
    verifier = kind({"It is 1.": 0.5, "It is 2.": 0.4})
    scripts = [says(f"It is {i}.") for i in (1, 2, 3)]
    run = a_run(a_tier("small", FakeBackend(*scripts)), verifier=verifier)
    outcome = await config.build(strategy_parts()).run(run)
    assert run.trace.degraded == degraded
    assert worth_storing(outcome, run.trace.degraded) is not bool(degraded)
