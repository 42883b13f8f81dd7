from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.evidence import Verdict
from entroute.strategies.judging import (
    Likelihood,
    OneByOne,
    Unjudged,
    as_they_come,
    silenced,
)
from entroute.types import ChatRequest, Completion
from tests.builders import a_completion, a_request
from tests.fakes import FakeVerifier
from tests.scripted import coin, token


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
    assert verifier.asked == [["b"], ["c", "a"]]
    assert [verdict.score for verdict in verdicts] == [0.3, 0.2, 0.1]
    assert again == tuple(reversed(verdicts))
    assert await judge.score(a_request(), []) == ()


async def test_a_verifier_that_compares_waits_for_all() -> None:
    verifier = FakeVerifier({"a": 1.0})
    verifier.compares, verifier.top_logprobs = True, 20
    waiting = as_they_come(verifier)
    assert isinstance(waiting, Unjudged)
    assert waiting.top_logprobs == 20
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
