from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from entroute.errors import ConfigurationError
from entroute.evaluation.arms import Point, uniform_points
from entroute.evaluation.bank_arms import families_of
from entroute.evaluation.calibrating import EPSILON, PRICES, measures_of, profile_of, trade_off
from entroute.evaluation.studying import crossfitted, scale_of
from entroute.profile.plans import Runtime
from entroute.profile.profile import Profile, read_profile, write_profile
from tests.evaluation.banks import (
    HIDDEN,
    MANNER,
    MODELS,
    VISIBLE,
    World,
    a_study,
    evidence_of,
    study_of,
)


def point(cost: float, quality: float) -> Point:
    return Point(str(cost), np.array([quality]), np.array([cost]))


CURVE = [point(2.0, 0.95), point(1.0, 0.9), point(0.6, 0.85), point(0.3, 0.5)]
FIXED = [point(1.0, 0.86), point(0.3, 0.4)]


def test_without_a_cost_the_cheapest_point_near_the_best_fixed_plan_is_taken() -> None:
    assert trade_off(CURVE, FIXED, None) is CURVE[2]
    assert trade_off(CURVE, [point(1.0, 0.85 + EPSILON * 1.1)], None) is CURVE[1]


def test_a_cost_that_an_operator_names_is_met_as_nearly_as_may_be() -> None:
    assert trade_off(CURVE, FIXED, 0.9) is CURVE[1]
    assert trade_off(CURVE, FIXED, 0.01) is CURVE[3]


def test_where_no_point_is_near_the_best_fixed_plan_the_best_one_is_taken() -> None:
    assert trade_off(CURVE, [point(3.0, 0.99)], None) is CURVE[0]


@cache
def profile(world: World, target_cost: float | None = None) -> Profile:
    study, fitted = study_of(world)
    manner = replace(MANNER, target_cost=target_cost, command="entroute calibrate --bank b")
    fixed = uniform_points(fitted.table, families_of(study.specs(-1, manner.votes_above)))
    return profile_of(study, manner, fitted, fixed)


@pytest.mark.parametrize("name", ["p.json", "p.json.gz"])
def test_a_profile_is_read_back_equal(tmp_path: Path, name: str) -> None:
    write_profile(tmp_path / name, profile(VISIBLE))
    assert read_profile(tmp_path / name) == profile(VISIBLE)


def test_a_profile_refuses_other_models() -> None:
    found = profile(VISIBLE)
    found.check_models(MODELS)
    others = [
        {"small": "small-model"},
        MODELS | {"large": "another"},
        dict(reversed(MODELS.items())),
        {"small": "small-model", "big": "large-model"},
    ]
    for models in others:
        with pytest.raises(ConfigurationError, match="fitted for small=small-model"):
            found.check_models(models)


def test_a_profile_says_what_it_was_made_of() -> None:
    found = profile(VISIBLE)
    assert (found.made.prompts, found.made.samples) == (120, 960)
    assert set(found.made.banks) == {"bank.jsonl.gz"}
    assert found.made.command == "entroute calibrate --bank b"
    assert [tier.name for tier in found.tiers] == ["small", "large"]
    assert found.static_plan == "large x1"


def test_plans_promise_much_where_the_text_says_easy_and_little_where_it_says_hard() -> None:
    found = profile(VISIBLE)
    study, _ = study_of(VISIBLE)
    small = found.plan("small x1").success
    easy, hard = (
        np.mean([small.probability(study.asked[f"q{i:03}"].features) for i in range(k, 120, 2)])
        for k in (0, 1)
    )
    assert easy > 0.85
    assert hard < 0.15
    blind = profile(HIDDEN).plan("small x1").success
    study, _ = study_of(HIDDEN)
    said = [blind.probability(a.features) for a in study.asked.values()]
    assert np.std(said) < 0.15


def test_the_trade_off_leads_to_the_cost_that_is_written_beside_it() -> None:
    found = profile(VISIBLE, 0.65)
    assert found.trade_off in PRICES
    assert found.target_cost == pytest.approx(0.65, abs=0.1)
    study, fitted = study_of(VISIBLE)
    p, cost = fitted.p, fitted.cost
    chosen = np.nanargmax(p - found.trade_off * cost, axis=1)
    spent = fitted.table.cost[np.arange(len(chosen)), chosen].mean()
    assert spent == pytest.approx(found.target_cost, rel=1e-6)
    assert profile(VISIBLE, 1.0).trade_off < found.trade_off
    assert len(study.rows) > 0


def test_measures_are_of_prompts_that_no_fit_has_seen() -> None:
    told, blind = profile(VISIBLE).measures, profile(HIDDEN).measures
    assert told["small brier_skill"] > 0.8
    assert blind["small brier_skill"] < 0.05
    assert told["small prompts"] == told["plans prompts"] == 120
    assert blind["plans ece"] < 0.05


def test_the_same_seed_gives_the_same_study(tmp_path: Path) -> None:
    first, predicted = study_of(VISIBLE)
    again = a_study(evidence_of(tmp_path, VISIBLE), MANNER)
    assert replace(again, evidence=first.evidence) == first
    fitted = crossfitted(again, MANNER)
    assert np.array_equal(fitted.p, predicted.p, equal_nan=True)
    assert np.array_equal(fitted.cost, predicted.cost, equal_nan=True)


def test_an_outcome_does_not_change_what_its_own_text_is_believed_to_be() -> None:
    """A prompt whose samples all turn: its fold's models have not seen it."""
    study, _ = study_of(HIDDEN)
    turned = replace(
        study.evidence,
        right={
            tier: tuple(1 - s if i == 7 else s for i, s in enumerate(shares))
            for tier, shares in study.evidence.right.items()
        },
    )
    after = a_study(turned, replace(MANNER, repeats=1))
    prompt = study.evidence.questions.ids[7]
    assert after.asked[prompt] == study.asked[prompt]
    assert after.asked != study.asked


def test_one_answer_is_the_mean_of_the_last_tier(tmp_path: Path) -> None:
    evidence = evidence_of(tmp_path)
    scale = scale_of(evidence, MANNER)
    large = [s.completion_tokens for s in evidence.samples if s.tier == "large"]
    assert scale.unit_s == pytest.approx(0.03 * np.mean(large))
    added = [replace(s, index=9, extra=True, completion_tokens=999) for s in evidence.samples[:50]]
    more = replace(evidence, samples=(*evidence.samples, *added))
    assert scale_of(more, MANNER) == scale


def test_runtimes_that_are_given_are_those_of_every_tier(tmp_path: Path) -> None:
    evidence = evidence_of(tmp_path)
    one = Runtime(prompt_s=0, token_s=0.5, stream_token_s=1, batch=2)
    given = replace(MANNER, runtimes={"small": one, "large": one})
    assert scale_of(evidence, given).runtimes == {"small": one, "large": one}
    for runtimes in ({"small": one}, {"small": one, "big": one}):
        with pytest.raises(ConfigurationError, match="each tier of the bank: small, large"):
            scale_of(evidence, replace(MANNER, runtimes=runtimes))


def test_measures_are_the_same_for_the_same_seed() -> None:
    study, fitted = study_of(VISIBLE)
    assert measures_of(study, fitted, 3) == measures_of(study, fitted, 3)
