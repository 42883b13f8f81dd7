from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from entroute.evaluation.arms import Difference, Table
from entroute.evaluation.bank_arms import (
    FIRST,
    ORACLE,
    PER_TASK,
    POLICY,
    QUERY,
    RANDOM,
    UNIFORM,
    Arms,
    Compared,
    arms_of,
    corrected,
    families_of,
    holm,
    only,
    per_task,
    scaled,
)
from entroute.evaluation.bank_report import arms_json, bank_report
from entroute.evaluation.crossfit import crossfit
from entroute.evaluation.studying import crossfitted
from tests.evaluation.banks import HIDDEN, MANNER, VISIBLE, World, study_of

RATIO = 3.0
COSTS = (0.6, 0.8)


@cache
def arms(world: World) -> Arms:
    study, _ = study_of(world)
    return arms_of(study, MANNER, crossfitted(study, MANNER), RATIO, COSTS)


def against(world: World, baseline: str, cost: float) -> Compared:
    return next(c for c in arms(world).compared if (c.baseline, c.cost) == (baseline, cost))


def test_text_that_tells_difficulty_gains_on_the_best_uniform_budget() -> None:
    for baseline in (UNIFORM, PER_TASK, RANDOM):
        found = against(VISIBLE, baseline, COSTS[0])
        assert found.gain.low > 0.05
        assert found.p < 0.01
        assert found.k is None or found.k > 1.2
    # Half the prompts need the large tier: 2/3 of a large answer each buys nearly all there is.
    assert against(VISIBLE, UNIFORM, COSTS[1]).quality > 0.9


def test_text_that_tells_nothing_gains_nothing() -> None:
    for cost in COSTS:
        found = against(HIDDEN, UNIFORM, cost)
        assert found.gain.low <= 0 <= found.gain.high
        assert abs(found.gain.mean) < 0.02
        assert found.p > 0.05


@pytest.mark.parametrize("world", [VISIBLE, HIDDEN])
def test_nothing_beats_hindsight(world: World) -> None:
    for cost in COSTS:
        assert against(world, ORACLE, cost).gain.mean <= 0
    oracle = against(HIDDEN, ORACLE, COSTS[1])
    assert oracle.gain.high < 0


@pytest.mark.parametrize("world", [VISIBLE, HIDDEN])
def test_both_sides_of_a_comparison_spend_the_same(world: World) -> None:
    for curve in arms(world).curves.values():
        for point in curve:
            assert len(point.right) == len(point.cost) == arms(world).prompts == 120
    for found in arms(world).compared:
        assert found.gain.mean == pytest.approx(found.quality - found.base)
        assert found.gain.low <= found.gain.mean <= found.gain.high


def test_a_ratio_is_that_of_mean_single_answers() -> None:
    study, _ = study_of(VISIBLE)
    for ratio in (2.0, 6.0):
        scale = scaled(study, ratio)
        small = [r.seconds(scale.runtimes) for r in study.rows if r.plan == "small x1"]
        assert np.mean(small) / scale.unit_s == pytest.approx(1 / ratio)
        assert scale.runtimes["large"] == study.scale.runtimes["large"]


def test_predicted_costs_are_real_costs_on_prompts_that_no_fit_has_seen() -> None:
    for world in (VISIBLE, HIDDEN):
        _, fitted = study_of(world)
        served = ~np.isnan(fitted.table.right)
        for j in range(len(fitted.table.plans)):
            real = fitted.table.cost[served[:, j], j].mean()
            assert fitted.cost[served[:, j], j].mean() == pytest.approx(real, rel=0.05)


def test_folds_leak_nothing_from_a_prompts_outcomes_into_its_prediction() -> None:
    study, before = study_of(HIDDEN)
    folds = dict(zip(study.evidence.questions.ids, study.folds, strict=True))
    prompt = study.evidence.questions.ids[5]
    rows = [replace(r, right=1 - r.right) if r.prompt == prompt else r for r in study.rows]
    after = crossfit(study.specs(-1, MANNER.votes_above), rows, study.asked, folds, study.scale)
    row = before.table.prompts.index(prompt)
    assert np.array_equal(before.p[row], after.p[row], equal_nan=True)
    assert not np.array_equal(before.p, after.p, equal_nan=True)


def test_every_family_falls_back_to_its_own_tier() -> None:
    study, _ = study_of(VISIBLE)
    families = families_of(study.specs(-1, 4))
    assert families["large votes <=4"] == ["large votes <=4", "large x1"]
    assert families["small x1"][-1] == "small x1"


TABLE = Table(
    prompts=tuple(f"q{i}" for i in range(40)),
    forms=("number",) * 40,
    plans=("small x1", "votes"),
    right=np.array([[1.0, 0.0] if i % 2 else [0.0, 1.0] for i in range(40)]),
    cost=np.array([[0.2, 0.5]] * 40),
)
FOLDS = {f"q{i}": i // 2 % 2 for i in range(40)}


def test_a_task_is_known_by_what_other_folds_did_on_it() -> None:
    tasks = {f"q{i}": "odd" if i % 2 else "even" for i in range(40)}
    value = per_task(TABLE, FOLDS, tasks)
    assert value(1, "small x1") == pytest.approx((1.0, 0.2))
    assert value(0, "small x1") == pytest.approx((0.0, 0.2))
    mine = np.array([fold == 0 for fold in FOLDS.values()])
    turned = replace(TABLE, right=np.where(mine[:, None], 1 - TABLE.right, TABLE.right))
    assert per_task(turned, FOLDS, tasks)(0, "small x1") == value(0, "small x1")


def test_a_task_of_few_prompts_is_known_by_its_answer_form_alone() -> None:
    tasks = {f"q{i}": f"task {i // 8}" for i in range(40)}
    value = per_task(TABLE, FOLDS, tasks)
    assert value(0, "votes") == pytest.approx((0.5, 0.5))


def test_a_plan_that_no_other_fold_has_tried_is_taken_last() -> None:
    right = TABLE.right.copy()
    right[[i for i in range(40) if FOLDS[f"q{i}"] == 1], 1] = np.nan
    value = per_task(replace(TABLE, right=right), FOLDS, dict.fromkeys(FOLDS, "t"))
    p, cost = value(0, "votes")
    assert p - 100 * cost < value(0, "small x1")[0] - 100 * value(0, "small x1")[1]


def test_some_plans_of_a_table_keep_their_numbers() -> None:
    kept = only(TABLE, {"votes"})
    assert kept.plans == ("votes",)
    assert kept.right[:, 0].tolist() == TABLE.right[:, 1].tolist()


def test_holm_multiplies_step_by_step_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


def compared(baseline: str, p: float) -> Compared:
    return Compared(baseline, 1.0, 0.5, 0.5, Difference(0, 0, 0), p, None)


def test_the_primary_comparison_is_not_corrected_and_the_oracle_is_not_tested() -> None:
    one = Arms(None, {}, (compared(UNIFORM, 0.04), compared(ORACLE, 0.001)), 1)
    other = Arms(2.0, {}, (compared(UNIFORM, 0.02), compared(QUERY, 0.03)), 1)
    assert corrected([one, other]) == [[0.04, None], [0.04, 0.04]]


def test_the_same_seed_gives_the_same_comparisons() -> None:
    study, _ = study_of(VISIBLE)
    assert (
        arms_of(study, MANNER, crossfitted(study, MANNER), RATIO, COSTS).compared
        == arms(VISIBLE).compared
    )


def test_a_report_shows_every_arm_and_every_plan() -> None:
    study, fitted = study_of(VISIBLE)
    found = [replace(arms(VISIBLE), ratio=None), arms(VISIBLE)]
    report = bank_report(study, MANNER, fitted, found, "entroute replay --bank b")
    titles = [table.title for table in report.tables]
    assert titles[0].endswith("as measured")
    assert titles[1].endswith("at a cost ratio of 3")
    plans = next(table for table in report.tables if table.title == "Plans")
    assert [row[0] for row in plans.rows] == list(fitted.table.plans)
    assert report.facts["prompts"] == "120"
    drawn = {curve.label for figure in report.figures for curve in figure.curves}
    assert {UNIFORM, PER_TASK, QUERY, POLICY, ORACLE} <= drawn


def test_json_holds_what_was_compared() -> None:
    (found,) = arms_json([arms(VISIBLE)])
    assert found["ratio"] == RATIO
    assert set(found["curves"]) == {UNIFORM, PER_TASK, RANDOM, QUERY, FIRST, POLICY, ORACLE}
    first = found["compared"][0]
    assert (first["baseline"], first["cost"]) == (UNIFORM, COSTS[0])
    assert first["gain"] == against(VISIBLE, UNIFORM, COSTS[0]).gain.mean
    assert first["p_holm"] == first["p"]
