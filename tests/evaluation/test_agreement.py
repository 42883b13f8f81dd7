from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.errors import ConfigurationError
from entroute.evaluation.agreement import (
    Agreement,
    Draw,
    in_turns,
    play,
    replay_agreement_rules,
    rules_up_to,
)
from entroute.evaluation.answer_rows import AnswerRow
from entroute.evaluation.cascade_curve import area, cascade_curve, curve_json, hull, on_hull

texts = st.text("ab.", min_size=1, max_size=8)


def order(text: str) -> list[tuple[str | None, bool]]:
    """One letter a sample, `a` right, a dot unparsable."""
    return [(None if letter == "." else letter, letter == "a") for letter in text]


def row(prompt: str, text: str, configuration: str = "") -> AnswerRow:
    letters = sorted(set(text) - {"."})
    classes = tuple(None if letter == "." else letters.index(letter) for letter in text)
    right = tuple(letter == "a" for letter in text)
    return AnswerRow(prompt, "t", "m", configuration, classes, right, tuple(letters))


@pytest.mark.parametrize(
    ("rule", "text", "expected"),
    [
        (Agreement(1, 1), "b", Draw(correct=False, drawn=1)),
        (Agreement(1, 1), ".", Draw(correct=None, drawn=1)),
        (Agreement(2, 2), "aa", Draw(correct=True, drawn=2)),
        (Agreement(2, 2), "ab", Draw(correct=None, drawn=2)),
        (Agreement(3, 3), "abb", Draw(correct=None, drawn=2)),  # three of three is out of reach
        (Agreement(2, 3), "aba", Draw(correct=True, drawn=3)),
        (Agreement(2, 3), "abbb", Draw(correct=False, drawn=3)),
        (Agreement(3, 5), "a..ba", Draw(correct=None, drawn=4)),
        (Agreement(2, 4), "a", Draw(correct=None, drawn=1)),  # no more samples were recorded
    ],
)
def test_a_cascade_accepts_agreement_and_goes_up_once_it_is_out_of_reach(
    rule: Agreement, text: str, expected: Draw
) -> None:
    assert play(rule, order(text)) == expected


@given(texts)
def test_wanting_more_votes_never_escalates_less(text: str) -> None:
    for votes in range(1, 4):
        fewer, more = (play(Agreement(m, 4), order(text)) for m in (votes, votes + 1))
        assert fewer.correct is not None or more.correct is None


def test_rules_are_every_majority_up_to_the_most_samples() -> None:
    assert [rule.name for rule in rules_up_to(3)] == ["1 of 1", "2 of 2", "2 of 3", "3 of 3"]


def test_configurations_take_turns() -> None:
    rows = [row("q", "aaa", "one"), row("q", "bb", "two")]
    for seed in range(5):
        drawn = [answer for answer, _ in in_turns(rows, np.random.default_rng(seed))]
        assert sorted(map(str, drawn)) == ["a", "a", "a", "b", "b"]
        assert all(left != right for left, right in pairwise(drawn[:4]))


def weak_and_strong(prompts: int = 40) -> tuple[list[AnswerRow], list[AnswerRow]]:
    """A weak model that agrees where it is right and scatters where it is wrong."""
    weak = [row(f"q{at:02}", "aaaaaaaa" if at % 2 else "bcdefghi") for at in range(prompts)]
    return weak, [row(f"q{at:02}", "aa") for at in range(prompts)]


def test_agreement_that_tells_right_from_wrong_recovers_the_gap_at_its_cost() -> None:
    weak, strong = weak_and_strong()
    curve = cascade_curve(replay_agreement_rules(weak, strong, samples=2, permutations=2), 20)
    points = {point.name: point for point in curve.points}
    assert points["weak alone"].cost == pytest.approx(0.05)
    assert points["weak alone"].quality == pytest.approx(0.5)
    assert points["strong alone"].quality == points["2 of 2"].quality == pytest.approx(1)
    assert points["2 of 2"].cost == pytest.approx(2 / 20 + 0.5)
    assert points["2 of 2"].escalated == pytest.approx(0.5)
    # From (0, 0) straight to (0.55 / 0.95, 1), then level: the triangle is lost.
    assert curve.apgr == pytest.approx(1 - 0.55 / 0.95 / 2, abs=0.01)
    assert curve.apgr_calls == pytest.approx(0.75, abs=0.01)
    assert curve.apgr_low < curve.apgr < curve.apgr_high


def test_dear_weak_samples_leave_a_coin_between_the_models() -> None:
    weak, strong = weak_and_strong()
    replay = replay_agreement_rules(weak, strong, samples=2, permutations=1)
    assert cascade_curve(replay, 1.5).apgr == pytest.approx(0.5)
    assert cascade_curve(replay, 3).apgr < cascade_curve(replay, 6).apgr


def test_the_points_worth_having_rise_with_cost() -> None:
    weak, strong = weak_and_strong()
    curve = cascade_curve(replay_agreement_rules(weak, strong, samples=3), 20)
    kept = on_hull(curve.points)
    assert [point.name for point in kept] == ["weak alone", "2 of 2"]
    found = curve_json(curve)
    assert found["apgr"] == curve.apgr
    assert found["ratio"] == 20


def test_the_hull_leaves_out_what_a_coin_beats() -> None:
    cost = np.array([0.0, 0.5, 0.6, 1.0, 0.7])
    quality = np.array([0.0, 0.2, 0.8, 1.0, 0.7])
    assert hull(cost, quality) == [0, 2, 3]


def test_the_area_is_flat_beyond_the_last_point() -> None:
    assert area(np.array([0.0, 0.5]), np.array([0.0, 1.0]), 0, 1) == pytest.approx(0.75)
    assert area(np.array([0.0, 2.0]), np.array([0.0, 1.0]), 0, 1) == pytest.approx(0.25)


def test_the_same_prompt_of_two_tasks_is_two_prompts() -> None:
    weak, strong = weak_and_strong(6)
    other = [AnswerRow(r.prompt, "u", r.model, "", r.answers, r.correct, r.texts) for r in weak]
    assert len(replay_agreement_rules([*weak, *other], strong).prompts) == 6


def test_models_that_share_no_prompt_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="share no prompt"):
        replay_agreement_rules([row("p", "aa")], [row("q", "aa")])


@pytest.mark.parametrize(("samples", "permutations"), [(1, 1), (2, 0)])
def test_too_few_samples_are_refused(samples: int, permutations: int) -> None:
    with pytest.raises(ConfigurationError, match="at least 2 weak samples"):
        replay_agreement_rules([], [], samples=samples, permutations=permutations)


def test_prices_and_models_without_a_curve_are_refused() -> None:
    weak, strong = weak_and_strong()
    with pytest.raises(ConfigurationError, match="cost ratio 1"):
        cascade_curve(replay_agreement_rules(weak, strong), 1)
    with pytest.raises(ConfigurationError, match="no better than the weak"):
        cascade_curve(replay_agreement_rules(strong, weak), 20)
    with pytest.raises(ConfigurationError, match="at least 5"):
        cascade_curve(replay_agreement_rules(weak[:3], strong[:3]), 20)
