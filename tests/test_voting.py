import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.uncertainty import beta_confidence, leading_votes, votes_needed
from entroute.voting import leading_weights, soft_confidence, soft_count, soft_wave

sums = st.floats(0, 60)
levels = st.floats(0.5, 0.999)
answers = st.none() | st.sampled_from("abc")


# --- weights ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("z", "weight"), [(-100.0, 1), (-1.0, 1), (0.0, 1), (1.0, math.exp(0.7)), (2.0, math.exp(1.4))]
)
def test_only_a_sample_surer_than_usual_counts_as_more_than_one(z: float, weight: float) -> None:
    assert soft_count(z) == pytest.approx(weight)


@given(st.floats(allow_nan=False))
def test_no_confidence_outweighs_everything(z: float) -> None:
    assert 1 <= soft_count(z) <= math.exp(7.0)


@given(st.floats(-20, 20), st.floats(0, 20))
def test_a_surer_sample_never_weighs_less(z: float, more: float) -> None:
    assert soft_count(z + more) >= soft_count(z)


def test_weights_are_added_by_answer() -> None:
    votes = [("a", 1.5), ("b", 2.0), ("a", 1.0), ("c", 0.5), (None, 9.0)]
    assert leading_weights(votes) == ("a", 2.5, 2.0)


def test_without_votes_nobody_leads() -> None:
    assert leading_weights([]) == leading_weights([(None, 3.0)]) == (None, 0.0, 0.0)


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_tie_goes_to_the_answer_seen_first(order: str) -> None:
    assert leading_weights([(answer, 1.5) for answer in order]) == (order[0], 1.5, 1.5)


@given(st.lists(answers, max_size=20))
def test_weights_of_one_are_counted_votes(votes: list[str | None]) -> None:
    leader, first, second = leading_weights((vote, 1.0) for vote in votes)
    assert (first, second) == leading_votes(votes)
    assert leader is None or [vote == leader for vote in votes].count(True) == first


@given(st.lists(st.tuples(answers, st.sampled_from([0.5, 1.0, 2.0])), max_size=8), st.data())
def test_the_order_of_votes_changes_no_sum(
    votes: list[tuple[str | None, float]], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(votes))
    assert leading_weights(shuffled)[1:] == leading_weights(votes)[1:]


# --- the stopping test -----------------------------------------------------------------------


@pytest.mark.parametrize("runner_up", range(0, 61, 3))
def test_with_whole_numbers_it_is_the_exact_beta_criterion(runner_up: int) -> None:
    for leader in range(runner_up, 61):
        exact = float(beta_confidence(leader, runner_up))
        assert soft_confidence(leader, runner_up) == pytest.approx(exact, abs=1e-12)


@given(sums, sums)
def test_a_confidence_is_a_probability_of_at_least_a_coins(one: float, other: float) -> None:
    assert 0.5 - 1e-12 <= soft_confidence(max(one, other), min(one, other)) <= 1


@given(sums, sums, st.floats(0.01, 10))
def test_more_for_the_leader_is_surer_and_more_for_the_runner_up_is_less(
    one: float, other: float, more: float
) -> None:
    leader, runner_up = max(one, other), min(one, other)
    before = soft_confidence(leader + more, runner_up)
    assert before >= soft_confidence(leader, runner_up) - 1e-12
    assert soft_confidence(leader + more, runner_up + more) <= before + 1e-12


@given(sums, st.integers(0, 40), st.integers(0, 40))
def test_between_whole_numbers_it_lies_between_their_values(
    part: float, leader: int, runner_up: int
) -> None:
    leader, runner_up = max(leader, runner_up), min(leader, runner_up)
    between = soft_confidence(leader + part % 1, runner_up)
    low, high = soft_confidence(leader, runner_up), soft_confidence(leader + 1, runner_up)
    assert low - 1e-12 <= between <= high + 1e-12


@pytest.mark.parametrize(("leader", "runner_up"), [(1, 2), (1, -1), (-1, -2), (float("nan"), 0)])
def test_impossible_sums_are_refused(leader: float, runner_up: float) -> None:
    with pytest.raises(ValueError, match="leader >= runner-up >= 0"):
        soft_confidence(leader, runner_up)


# --- waves -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("leader", "runner_up", "wave"), [(0, 0, 4), (1, 0, 3), (3, 1, 3), (5, 2, 3), (8, 3, 1)]
)
def test_a_wave_of_plain_votes_draws_up_to_the_boundary(
    leader: int, runner_up: int, wave: int
) -> None:
    assert soft_wave(leader, runner_up, 0.95) == wave
    assert votes_needed(runner_up, 0.95) == leader + wave


def test_a_settled_vote_still_has_a_wave_of_one() -> None:
    assert soft_wave(9, 0, 0.95) == soft_wave(9.5, 0.5, 0.95) == 1


@given(sums, sums, levels)
def test_a_wave_settles_and_a_smaller_one_would_not(one: float, other: float, level: float) -> None:
    leader, runner_up = max(one, other), min(one, other)
    wave = soft_wave(leader, runner_up, level)
    assert wave >= 1
    assert soft_confidence(leader + wave, runner_up) >= level - 1e-9
    if wave > 1:
        assert soft_confidence(leader + wave - 1, runner_up) < level + 1e-9
