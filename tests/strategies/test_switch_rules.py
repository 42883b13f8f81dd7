"""When an answer changes hands: by entropy, and by chance."""

from itertools import pairwise
from random import Random

import pytest
from pydantic import ValidationError

from entroute.strategies.entropy_switch import EntropyRule, EntropySwitchConfig
from entroute.strategies.pen import Wish
from entroute.strategies.random_switch import ChanceRule, RandomSwitchConfig, Stretches
from tests.builders import a_budget, a_run, a_tier, read_outcome
from tests.continuing import Continuing
from tests.fakes import strategy_parts
from tests.scripted import SURE, UNSURE, coin

STORY = " ".join(f"w{number}" for number in range(400))


def wishes(rule: EntropyRule, *certainties: float) -> list[Wish | None]:
    return [rule.see(coin(p)) for p in certainties]


def an_entropy_rule(**facts: float) -> EntropyRule:
    given_ = {"window": 2, "threshold": 0.4, "low": 0.2, "minimum_run": 3} | facts
    return EntropyRule(
        int(given_["window"]), given_["threshold"], given_["low"], int(given_["minimum_run"])
    )


def test_the_mean_of_the_window_is_compared_with_the_threshold_in_bits() -> None:
    rule = an_entropy_rule(minimum_run=1)
    sure, half, full = wishes(rule, SURE, UNSURE, UNSURE)
    assert sure is None or not sure.up  # 0.01 bits
    assert half is not None  # (0.01 + 1) / 2 bits
    assert (half.up, half.reason) == (True, "unsure")
    assert full is not None
    assert full.confidence == pytest.approx(0.5)  # 2^-1: one bit


def test_nothing_is_wished_before_the_minimum_run() -> None:
    assert wishes(an_entropy_rule(), UNSURE, UNSURE) == [None, None]
    assert wishes(an_entropy_rule(), UNSURE, UNSURE, UNSURE)[-1] is not None


def test_the_pen_goes_back_after_a_run_of_calm_tokens_only() -> None:
    rule = an_entropy_rule(threshold=2.0)
    assert wishes(rule, SURE, SURE, UNSURE, SURE, SURE, SURE) == [None] * 6
    last = rule.see(coin(SURE))
    assert last is not None
    assert (last.up, last.reason) == (False, "calm")


def test_between_the_thresholds_the_pen_stays() -> None:
    between = 0.95  # 0.29 bits
    assert wishes(an_entropy_rule(), *[between] * 20) == [None] * 20


def test_another_writer_begins_with_an_empty_window() -> None:
    rule = an_entropy_rule()
    wishes(rule, UNSURE, UNSURE, UNSURE)
    rule.begin(raised=True)
    assert wishes(rule, SURE, SURE) == [None, None]
    third = rule.see(coin(SURE))
    assert third is not None
    assert third.reason == "calm"


def test_the_second_threshold_follows_the_first_unless_it_is_given() -> None:
    run = a_run(a_tier("small"))
    for low, expected in ((None, 0.6), (0.1, 0.1)):
        rule = EntropySwitchConfig(threshold=1.0, low=low)._rule(run)
        assert isinstance(rule, EntropyRule)
        assert rule._low == expected


@pytest.mark.parametrize("field", ["window", "minimum_run", "max_hand_overs"])
def test_counts_below_one_are_refused(field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        EntropySwitchConfig.model_validate({field: 0})


def a_chance(
    share: float, run: int, stretches: Stretches = "geometric", seed: int = 1
) -> ChanceRule:
    return ChanceRule(share, run, stretches, Random(seed))  # noqa: S311 - a test repeats itself


def written(rule: ChanceRule, tokens: int) -> list[bool]:
    """Follow every wish at once; return who wrote each token."""
    raised = rule.opens_up()
    rule.begin(raised=raised)
    writers = []
    for _ in range(tokens):
        writers.append(raised)
        wish = rule.see(coin(SURE))
        if wish is not None:
            assert (wish.up, wish.reason) == (not raised, "chance")
            raised = wish.up
            rule.begin(raised=raised)
    return writers


@pytest.mark.parametrize("share", [0.15, 0.5, 0.85])
@pytest.mark.parametrize("stretches", ["geometric", "fixed"])
def test_the_share_of_large_tokens_is_the_one_asked_for(share: float, stretches: Stretches) -> None:
    writers = written(a_chance(share, 4, stretches), 20_000)
    assert sum(writers) / len(writers) == pytest.approx(share, abs=0.04)


def test_geometric_stretches_have_the_mean_length_asked_for() -> None:
    writers = written(a_chance(0.5, 10), 20_000)
    changes = sum(a != b for a, b in pairwise(writers))
    assert pytest.approx(changes, rel=0.15) == 20_000 / 10 / 2  # half of them change hands


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_of_none_or_all_never_moves(share: float) -> None:
    assert set(written(a_chance(share, 3), 500)) == {share == 1.0}


def test_fixed_stretches_change_hands_at_their_ends_only() -> None:
    writers = written(a_chance(0.5, 8, "fixed"), 800)
    changes = [i for i in range(1, 800) if writers[i] != writers[i - 1]]
    assert changes
    assert all(place % 8 == 0 for place in changes)


def test_one_seed_draws_one_sequence() -> None:
    drawn = [written(a_chance(0.3, 5), 300) for _ in range(2)]
    assert drawn[0] == drawn[1]


async def test_a_random_switch_writes_the_whole_answer_with_both_tiers() -> None:
    config = RandomSwitchConfig(share=0.5, run=10, max_hand_overs=200)
    run = a_run(
        a_tier("small", Continuing(STORY), continues=True),
        a_tier("large", Continuing(STORY), continues=True),
        budget=a_budget(max_calls=300),
    )
    text, outcome = await read_outcome(config.build(strategy_parts()).stream(run))
    assert text == STORY
    assert outcome.strategy == "random_switch"
    assert {move.reason for move in outcome.escalations} == {"chance"}
    large = sum(s.tokens for s in outcome.segments if s.tier == "large")
    assert 100 < large < 300
    assert outcome.choices[0].usage.completion_tokens == 400
