import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.errors import ConfigurationError
from entroute.evaluation.answer_rows import AnswerRow
from entroute.evaluation.rule_replay import (
    RuleReplay,
    by_accuracy_level,
    by_model,
    lower_bound,
    replay_rules,
    summary,
)
from entroute.evaluation.rules import FixedRule, RuleName, rule_named

NAMES: tuple[RuleName, ...] = ("reasc", "adaptive", "esc", "fixed")


def row(answers: str, *, prompt: str = "q", model: str = "m", right: str = "a") -> AnswerRow:
    """One letter a sample, a dot for an unparsable one."""
    classes = tuple(None if letter == "." else ord(letter) for letter in answers)
    correct = tuple(letter == right for letter in answers)
    return AnswerRow(prompt, "t", model, "", classes, correct)


texts = st.text("aaabc.", min_size=1, max_size=12)


def replayed(name: RuleName, *rows: AnswerRow, permutations: int = 7) -> RuleReplay:
    return replay_rules(rows, [rule_named(name)], seed=3, permutations=permutations)[0]


@given(st.lists(texts, min_size=1, max_size=6))
def test_fixed_is_all_samples(answers: list[str]) -> None:
    found = replayed("fixed", *(row(text, prompt=text) for text in answers))
    assert found.accuracy.tolist() == found.accuracy_all.tolist()
    assert found.samples.tolist() == pytest.approx([len(text) for text in answers])


@given(st.lists(texts, min_size=1, max_size=6))
def test_no_rule_draws_more_than_there_is(answers: list[str]) -> None:
    for name in NAMES:
        found = replayed(name, *(row(text) for text in answers), permutations=3)
        assert (found.samples <= found.samples_all + 1e-9).all()
        assert (found.samples >= 1).all()
        assert ((found.accuracy >= 0) & (found.accuracy <= 1 + 1e-9)).all()


@pytest.mark.parametrize(("name", "samples"), [("reasc", 3), ("adaptive", 4), ("esc", 5)])
def test_a_unanimous_row_stops_at_the_least_possible(name: RuleName, samples: int) -> None:
    found = replayed(name, row("a" * 20))
    assert found.samples.tolist() == pytest.approx([samples])
    assert found.accuracy.tolist() == pytest.approx([1])


def test_rows_that_cannot_be_read_are_drawn_to_the_end_and_wrong() -> None:
    for name in NAMES:
        found = replayed(name, row("." * 6))
        assert found.samples.tolist() == pytest.approx([6])
        assert found.accuracy.tolist() == [0]


def test_the_order_of_the_recorded_samples_does_not_matter_to_all_of_them() -> None:
    one, other = (replayed("fixed", row(text)) for text in ("aaabb", "babaa"))
    assert one.accuracy.tolist() == other.accuracy.tolist() == pytest.approx([1])


def test_a_tie_is_won_as_often_as_an_answer_comes_first() -> None:
    (found,) = replay_rules([row("ab")], [FixedRule()], permutations=4000)
    assert found.accuracy[0] == pytest.approx(0.5, abs=0.03)


def test_one_sample_of_five_is_right_as_often_as_the_samples_are() -> None:
    (found,) = replay_rules([row("aaabb")], [FixedRule()], permutations=4000, most=1)
    assert found.accuracy[0] == pytest.approx(0.6, abs=0.03)
    assert found.samples.tolist() == pytest.approx([1])
    assert found.samples_all.tolist() == pytest.approx([5])
    assert found.accuracy_all.tolist() == pytest.approx([1])


def test_rules_are_replayed_on_the_same_orders() -> None:
    rows = [row("aabbcab", prompt=str(at)) for at in range(20)]
    together = replay_rules(rows, [rule_named("reasc"), rule_named("adaptive", 0.9)], seed=5)
    alone = replay_rules(rows, [rule_named("adaptive", 0.9)], seed=5)[0]
    assert together[1].accuracy.tolist() == alone.accuracy.tolist()
    assert (together[0].samples <= together[1].samples + 1e-9).all()


def test_the_same_seed_gives_the_same_numbers_and_another_does_not() -> None:
    rows = [row("aabbcab", prompt=str(at)) for at in range(20)]
    first, again, other = (
        replay_rules(rows, [rule_named("reasc")], seed=seed)[0].accuracy.tolist()
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_a_summary_averages_rows_and_counts_prompts() -> None:
    rows = [row("aaaa", prompt="p"), row("bbbb", prompt="p"), row("a", prompt="q")]
    found = summary(replayed("reasc", *rows))
    assert (found.rule, found.n, found.prompts) == ("reasc", 3, 2)
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.samples_mean == pytest.approx((2 + 2 + 1) / 3)  # 2 of 4 are sure enough
    assert found.samples_all == pytest.approx(3)
    assert found.difference == pytest.approx(0)
    assert found.difference_low == pytest.approx(0)


def test_a_mask_keeps_the_rows_of_one_model() -> None:
    found = replayed(
        "fixed", row("aa", model="good"), row("bb", model="bad"), row("ab", model="bad")
    )
    assert {name: int(mask.sum()) for name, mask in by_model(found).items()} == {
        "bad": 2,
        "good": 1,
    }
    assert summary(found, by_model(found)["good"]).accuracy == pytest.approx(1)


def test_levels_are_those_of_whole_configurations() -> None:
    weak = [row("a" if at < 3 else "b", prompt=str(at), model="weak") for at in range(10)]
    able = [row("a", prompt=str(at), model="able") for at in range(4)]
    masks = by_accuracy_level(replayed("fixed", *weak, *able))
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {"0.3-0.4": 10, "0.9-1.0": 4}


def test_the_bound_takes_dependent_rows_of_a_prompt_together() -> None:
    differences = np.array([-0.1, 0.1] * 50)
    apart = lower_bound(differences, [str(at) for at in range(100)])
    together = lower_bound(differences, [str(at % 2) for at in range(100)])
    assert together == pytest.approx(-0.1)
    # The normal bound of a hundred independent rows: 1.645 standard errors of 0.01.
    assert apart == pytest.approx(-0.0165, abs=0.003)


def test_one_prompt_bounds_nothing() -> None:
    assert lower_bound(np.array([0.0, 0.0]), ["q", "q"]) == -1


@pytest.mark.parametrize(("permutations", "most"), [(0, None), (1, 0)])
def test_numbers_below_one_are_refused(permutations: int, most: int | None) -> None:
    with pytest.raises(ConfigurationError, match="give at least 1"):
        replay_rules([row("a")], [FixedRule()], permutations=permutations, most=most)


def test_no_rows_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="no rows"):
        replay_rules([], [FixedRule()])
