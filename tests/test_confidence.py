from math import exp, isclose, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.confidence import confidence, token_entropy
from entroute.types import chosen_logprob
from tests.scripted import coin, token

SURE, TORN = coin(0.999), coin(0.5)

probabilities = st.floats(0.001, 0.999)
tokens = st.lists(probabilities.map(coin), min_size=1, max_size=30)


def test_no_tokens_have_no_confidence() -> None:
    assert confidence([], 4) is None


def test_certain_tokens_are_one() -> None:
    assert confidence([token(0.0, (0.0,))] * 5, 4) == pytest.approx(1)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_k_equal_choices_throughout_are_one_in_k(k: int) -> None:
    torn = token(log(1 / k), [log(1 / k)] * k)
    assert confidence([torn] * 8, 4) == pytest.approx(1 / k)


def test_the_least_certain_window_decides() -> None:
    run = [SURE] * 10 + [TORN] * 4 + [SURE] * 10
    assert confidence(run, 4) == pytest.approx(0.5)
    assert confidence(run, 8) == pytest.approx(exp(-(log(2) + token_entropy(SURE)) / 2))


def test_a_run_shorter_than_a_window_is_one_window() -> None:
    assert confidence([SURE, TORN], 16) == confidence([SURE, TORN], 2)


def test_without_alternatives_a_token_counts_with_its_surprisal() -> None:
    assert token_entropy(token(-1.5)) == 1.5
    assert confidence([token(-1.5)], 1) == pytest.approx(exp(-1.5))


@pytest.mark.parametrize("tops", [(0.5, -1.0), (-0.1, -0.1, -0.1)])
def test_alternatives_that_are_no_probabilities_count_as_none(tops: tuple[float, ...]) -> None:
    assert token_entropy(token(-1.5, tops)) == 1.5


def test_a_logprob_above_zero_is_certain_and_not_more() -> None:
    assert token_entropy(token(0.2)) == 0


@given(tokens, st.integers(1, 40))
def test_confidence_lies_in_zero_to_one(run: list[dict[str, object]], window: int) -> None:
    seen = confidence(run, window)
    assert seen is not None
    assert 0 < seen <= 1 + 1e-9


@given(tokens, st.integers(1, 8))
def test_more_hesitation_never_raises_it(run: list[dict[str, object]], window: int) -> None:
    before = confidence(run, window)
    after = confidence([*run, *[TORN] * window], window)
    assert before is not None
    assert after is not None
    assert after <= before or isclose(after, before)


@given(probabilities)
def test_the_entropy_of_two_choices_is_exact(p: float) -> None:
    assert token_entropy(coin(p)) == pytest.approx(-(p * log(p) + (1 - p) * log(1 - p)), abs=1e-6)
    assert chosen_logprob(coin(p)) == log(p)


@pytest.mark.parametrize(
    "odd", [{}, {"logprob": None}, {"logprob": "?"}, {"logprob": -1.5, "top_logprobs": [None]}]
)
def test_what_is_no_log_probability_fails_nothing(odd: dict[str, object]) -> None:
    seen = confidence([odd, TORN], 1)
    assert seen is not None
    assert 0 < seen <= 0.5
