import math

import pytest

from entroute.verifiers.likelihood import LikelihoodConfig
from tests.builders import a_completion, a_request
from tests.fakes import verifier_parts
from tests.scripted import token

THREE = a_completion(logprobs=(token(-1.0), token(-2.0), token(-3.0)))


async def score(logprobs: tuple[object, ...], **options: bool) -> float | None:
    verifier = LikelihoodConfig(**options).build(verifier_parts())
    (verdict,) = await verifier.score(a_request(), [a_completion(logprobs=logprobs)])
    return None if verdict.abstained else verdict.score


async def test_the_score_is_the_geometric_mean_of_token_probabilities() -> None:
    verifier = LikelihoodConfig().build(verifier_parts())
    (verdict,) = await verifier.score(a_request(), [THREE])
    assert verdict.score == pytest.approx(math.exp(-2))
    assert verdict.reason == "mean log-probability -2.000 of 3 tokens"


async def test_without_normalising_it_is_the_probability_of_the_whole_sequence() -> None:
    assert await score(THREE.logprobs, normalise=False) == pytest.approx(math.exp(-6))


async def test_a_long_sequence_keeps_a_weight_above_zero() -> None:
    found = await score((token(-20.0),) * 500, normalise=False)
    assert found is not None
    assert 0 < found < 1e-300


async def test_a_certain_sample_scores_one_and_a_masked_token_does_not_break_it() -> None:
    assert await score((token(0.0),)) == 1
    assert await score((token(-math.inf), token(0.0))) == pytest.approx(math.exp(-15))


@pytest.mark.parametrize(
    "logprobs", [(), (token(math.nan),), (token(3.0),), ({"token": "a"},), ({"logprob": None},)]
)
async def test_it_abstains_where_log_probabilities_are_missing_or_nonsense(
    logprobs: tuple[object, ...],
) -> None:
    assert await score(logprobs) is None


def test_it_asks_for_log_probabilities_but_no_alternatives() -> None:
    assert LikelihoodConfig().build(verifier_parts()).top_logprobs == 0
