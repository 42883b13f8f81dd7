from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.uncertainty import beta_confidence, beta_settled, lossless_settled
from entroute.voting import plurality_confidence, plurality_settled, plurality_wave

counts = st.integers(0, 12)
lefts = st.integers(0, 10)
levels = st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99])


def by_hand(leader: int, runner_up: int, others: int, left: int) -> Fraction:
    """Follow every way the next samples may go, a step of Polya's urn at a time."""
    kept = Fraction(0)
    for path in product(range(3), repeat=left):
        votes, chance = [leader, runner_up, others], Fraction(1)
        for taken in path:
            chance *= Fraction(votes[taken] + 1, sum(votes) + 3)
            votes[taken] += 1
        ahead = votes[0] - votes[1]
        kept += chance * Fraction(2 if ahead > 0 else ahead == 0, 2)
    return kept


@pytest.mark.parametrize(
    "state", [(1, 0, 0, 1), (1, 1, 0, 3), (2, 0, 0, 4), (2, 1, 1, 5), (3, 1, 2, 4), (4, 0, 0, 6)]
)
def test_the_chance_to_stay_first_is_that_of_every_way_on(state: tuple[int, int, int, int]) -> None:
    assert plurality_confidence(*state) == by_hand(*state)


def test_one_vote_of_two_samples_is_worked_out_by_hand() -> None:
    # Next: the leader 2/4, another answer 1/4, the runner-up 1/4 and then a tie that counts half.
    assert plurality_confidence(1, 0, 0, 1) == Fraction(7, 8)


@given(counts, counts, counts, lefts)
def test_a_wider_lead_is_never_less_sure(lead: int, second: int, others: int, left: int) -> None:
    first = second + lead
    here = plurality_confidence(first, second, others, left)
    assert 0 <= here <= 1
    assert here <= plurality_confidence(first + 1, second, others, left)
    if second:
        assert here <= plurality_confidence(first, second - 1, others, left)


@given(counts, counts, lefts)
def test_level_votes_are_a_coin(votes: int, others: int, left: int) -> None:
    assert plurality_confidence(votes, votes, others, left) == Fraction(1, 2)


@given(counts, counts, counts, lefts)
def test_a_lead_beyond_the_samples_left_is_certain(
    lead: int, second: int, others: int, left: int
) -> None:
    certain = plurality_confidence(second + lead, second, others, left) == 1
    assert certain == lossless_settled(second + lead, second, left)


@given(counts, st.integers(0, 6))
def test_samples_without_end_give_the_beta_criterion(lead: int, second: int) -> None:
    near = float(plurality_confidence(second + lead, second, 0, 120))
    limit = float(beta_confidence(second + lead, second))
    assert near == pytest.approx(limit, abs=0.05)
    assert near >= limit - 1e-12


@given(counts, counts, counts, lefts, levels)
def test_it_never_stops_later_than_beta_90_or_a_certain_winner(
    lead: int, second: int, others: int, left: int, level: float
) -> None:
    first = second + lead
    if beta_settled(first, second, 0.9) or (first > 1 and lossless_settled(first, second, left)):
        assert plurality_settled(first, second, others, left, level)


@given(counts, counts, counts, lefts, levels)
def test_once_settled_a_further_vote_for_the_leader_settles_too(
    lead: int, second: int, others: int, left: int, level: float
) -> None:
    first = second + lead
    if left and plurality_settled(first, second, others, left, level):
        assert plurality_settled(first + 1, second, others, left - 1, level)


@given(counts, counts, counts, lefts, levels)
def test_a_wave_is_the_fewest_votes_that_settle(
    lead: int, second: int, others: int, left: int, level: float
) -> None:
    first = second + lead
    wave = plurality_wave(first, second, others, left, level)
    assert wave <= left
    assert plurality_settled(first + wave, second, others, left - wave, level)
    for fewer in range(1, wave):
        assert not plurality_settled(first + fewer, second, others, left - fewer, level)


def test_the_boundary_of_ten_and_of_sixteen_samples() -> None:
    assert [plurality_wave(0, 0, 0, most) for most in (1, 2, 3, 10, 16, 64)] == [1, 2, 2, 3, 3, 3]
    assert plurality_settled(4, 1, 1, 4)
    assert not plurality_settled(4, 1, 1, 10)
    assert not plurality_settled(1, 0, 2, 1)


@pytest.mark.parametrize("state", [(1, 2, 0, 0), (-1, -1, 0, 0), (1, 0, -1, 0), (1, 0, 0, -1)])
def test_impossible_counts_are_refused(state: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="give leader >= runner-up"):
        plurality_confidence(*state)


@pytest.mark.parametrize("level", [0.49, 1.0])
def test_a_level_that_decides_nothing_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match="level"):
        plurality_settled(3, 0, 0, 2, level)
