import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.errors import ConfigurationError
from entroute.evaluation.rules import Draws, FixedRule, RuleName, WindowRule, rule_named, shuffled

RULES: tuple[RuleName, ...] = ("reasc", "adaptive", "esc", "fixed")
rows = st.lists(st.sampled_from([-1, 0, 0, 1, 2]), min_size=1, max_size=14)


class InOrder(np.random.Generator):
    """Leaves every row in the order it was given."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def random(self, size: tuple[int, int]) -> np.ndarray:  # type: ignore[override]
        return np.tile(np.arange(size[1], dtype=float), (size[0], 1))


def drawn(answers: list[int], correct: list[int] | None = None) -> Draws:
    right = np.array([correct or [answer == 0 for answer in answers]], dtype=bool)
    return shuffled(np.array([answers]), right, InOrder())


def stop(name: RuleName, answers: list[int], level: float | None = None) -> tuple[int, int]:
    """How many it drew, and the answer it chose."""
    stops = rule_named(name, level).stops(drawn(answers))
    return int(stops.drawn[0]), answers[int(stops.chosen[0])]


def test_the_votes_after_each_sample_are_counted() -> None:
    draws = drawn([5, 7, -1, 7, 5, 5])
    assert draws.answers.tolist() == [[0, 1, -1, 1, 0, 0]]
    assert draws.votes.tolist() == [[1, 1, 1, 2, 2, 3]]
    assert draws.runner_up.tolist() == [[0, 1, 1, 1, 2, 2]]
    assert draws.leader.tolist() == [[0, 0, 0, 1, 0, 0]]  # the tie at five goes to the first drawn


@pytest.mark.parametrize(
    ("name", "answers", "level", "expected"),
    [
        ("fixed", [0, 1, 1, 0, 2], None, (5, 0)),
        ("adaptive", [0] * 10, None, (4, 0)),
        ("adaptive", [0] * 10, 0.9, (3, 0)),
        ("adaptive", [0, 1, 0, 0, 0, 0, 0, 2], None, (7, 0)),  # 6 against 1
        ("adaptive", [0, 1, 0, 0, 0, 0, 0, 2], 0.9, (6, 0)),  # 5 against 1
        ("reasc", [0] * 10, None, (3, 0)),
        ("reasc", [0, 0, 1], None, (2, 0)),  # the third cannot change it
        ("reasc", [1, 0, 0, 2, 0, 0, 1, 1, 1, 2], None, (6, 0)),  # 4 to 1, four left
        ("esc", [0, 0, 0, 0, 0, 1], None, (5, 0)),
        ("esc", [0, 0, 0, 0, 2, 1, 1, 1, 1, 1], None, (10, 1)),  # ITS answer, 4 to 5
        ("esc", [0, 0, 0, 2, 1, 1, 1, 1, 1, 2], None, (10, 1)),
        ("esc", [0, 0, 0, 0], None, (4, 0)),  # no whole window
        ("esc", [-1, -1, -1, -1, -1, 3], None, (6, 3)),  # unparsable ones are not unanimous
    ],
)
def test_examples_worked_out_by_hand(
    name: RuleName, answers: list[int], level: float | None, expected: tuple[int, int]
) -> None:
    assert stop(name, answers, level) == expected


def test_a_unanimous_window_wins_against_the_plurality() -> None:
    answers = [0, 0, 0, 0, 2, 0, 0, 0, 2, 0, 1, 1, 1, 1, 1]
    assert stop("esc", answers) == (15, 1)
    assert stop("fixed", answers) == (15, 0)


@given(rows)
def test_unparsable_answers_never_win_unless_there_is_nothing_else(answers: list[int]) -> None:
    for name in RULES:
        count, chosen = stop(name, answers)
        assert 1 <= count <= len(answers)
        assert chosen >= 0 or max(answers[:count]) < 0
        if name != "esc" and chosen < 0:
            assert max(answers) < 0


@given(rows)
def test_reasc_never_draws_more_than_beta_90(answers: list[int]) -> None:
    assert stop("reasc", answers)[0] <= stop("adaptive", answers, 0.9)[0]


@given(rows, st.integers(0, 2**32 - 1))
def test_the_winner_of_all_samples_depends_on_their_order_only_in_a_tie(
    answers: list[int], seed: int
) -> None:
    classes = np.array([answers])
    draws = shuffled(classes, classes == 0, np.random.default_rng(seed))
    counts = sorted((answers.count(answer) for answer in (0, 1, 2)), reverse=True)
    assert draws.votes[0, -1] == counts[0]
    assert draws.runner_up[0, -1] == counts[1]
    if counts[0] > counts[1]:
        right = draws.correct[0, FixedRule().stops(draws).chosen[0]]
        assert right == (answers.count(0) == counts[0])


@pytest.mark.parametrize("most", [1, 3, 99])
def test_a_fixed_budget_draws_that_many(most: int) -> None:
    stops = FixedRule(most).stops(drawn([0, 1, 1, 1]))
    assert stops.drawn.tolist() == [min(most, 4)]


def test_a_cap_leaves_only_the_first_draws() -> None:
    draws = drawn([0, 1, 1, 1]).first(2)
    assert draws.most == 2
    assert rule_named("adaptive").stops(draws).drawn.tolist() == [2]
    assert WindowRule(2).stops(draws).drawn.tolist() == [2]


@pytest.mark.parametrize(
    ("name", "level"), [("reasc", 0.4), ("adaptive", 1.0), ("esc", 0.9), ("fixed", 0.9)]
)
def test_a_level_out_of_place_is_refused(name: RuleName, level: float) -> None:
    with pytest.raises(ConfigurationError, match="--level"):
        rule_named(name, level)
