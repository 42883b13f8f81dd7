from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from entroute.evaluation.crossfit import (
    FOLDS,
    CrossFit,
    Predictor,
    Questions,
    asked_of,
    crossfit,
    folds_of,
)
from entroute.evaluation.episodes import PlanSpec
from entroute.evaluation.trying import Tried
from entroute.profile.linear import plan_features
from entroute.profile.plans import Asked
from tests.evaluation.test_plan_fit import SCALE, SPEC, world

LARGE = replace(SPEC, name="large x1", family="large x1", tier="large", draws={"large": 1})
COUNT = 120
FOLDED = {f"q{place}": fold for place, fold in enumerate(folds_of(COUNT, 0))}


def predicted(
    rows: list[Tried], asked: Mapping[str, Asked], specs: tuple[PlanSpec, ...] = (SPEC,)
) -> CrossFit:
    return crossfit(specs, rows, asked, FOLDED, SCALE)


def test_folds_are_of_equal_size_and_the_same_for_a_seed() -> None:
    assert folds_of(103, 1) == folds_of(103, 1) != folds_of(103, 2)
    assert sorted(Counter(folds_of(103, 1)).values()) == [20, 20, 21, 21, 21]
    assert set(folds_of(103, 1)) == set(range(FOLDS))


def test_what_came_of_a_prompt_does_not_change_what_was_predicted_for_it() -> None:
    rows, asked, _ = world(COUNT)
    before = predicted(rows, asked)
    for place in range(0, COUNT, 45):
        prompt = f"q{place}"
        row = before.table.prompts.index(prompt)
        changed = [
            replace(r, right=1 - r.right, spent={"small": (9.0, 900.0, 9000.0)})
            if r.prompt == prompt
            else r
            for r in rows
        ]
        after = predicted(changed, asked)
        assert after.value(row, SPEC.name) == before.value(row, SPEC.name)
        others = [i for i in range(COUNT) if FOLDED[before.table.prompts[i]] != FOLDED[prompt]]
        assert not np.allclose(after.cost[others], before.cost[others])


def test_predictions_and_outcomes_agree_on_prompts_that_no_fit_has_seen() -> None:
    rows, asked, _ = world(COUNT)
    found = predicted(rows, asked)
    assert found.p.mean() == pytest.approx(found.table.right.mean(), abs=0.03)
    assert found.cost.mean() == pytest.approx(found.table.cost.mean(), rel=0.03)
    assert np.corrcoef(found.p[:, 0], found.table.right[:, 0])[0, 1] > 0.7


def test_difficulty_that_tells_nothing_predicts_nothing() -> None:
    rows, asked, _ = world(COUNT, telling=False)
    found = predicted(rows, asked)
    assert abs(np.corrcoef(found.p[:, 0], found.table.right[:, 0])[0, 1]) < 0.25


def test_a_plan_that_a_fold_lacks_prompts_for_is_left_out_everywhere() -> None:
    rows, asked, _ = world(COUNT)
    second = [
        replace(row, plan=LARGE.name, spent={"large": row.spent["small"]}) for row in rows[:45]
    ]
    assert predicted([*rows, *second], asked, (SPEC, LARGE)).table.plans == (SPEC.name,)


def test_a_prompt_that_a_plan_does_not_serve_has_no_prediction_of_it() -> None:
    rows, asked, _ = world(COUNT)
    second = [replace(row, plan="votes", spent={"large": row.spent["small"]}) for row in rows[:100]]
    votes = replace(LARGE, name="votes")
    found = predicted([*rows, *second], asked, (SPEC, votes))
    column = found.table.plans.index("votes")
    assert np.isnan(found.p[:, column]).sum() == 20
    assert (np.isnan(found.p) == np.isnan(found.table.right)).all()
    assert (np.isnan(found.cost) == np.isnan(found.table.cost)).all()


def test_each_prompt_is_asked_of_the_predictor_that_has_not_seen_its_fold() -> None:
    questions = Questions(("a", "b", "c"), ("A?", "B?", "C?"), ("number", "", "code"), (1, 2, 3))
    asked_about: list[tuple[int, str]] = []

    def predictor(fold: int) -> Predictor:
        def predict(text: str) -> tuple[Mapping[str, float], float, str | None]:
            asked_about.append((fold, text))
            return {"small": 0.25 * (fold + 1)}, 10.0 * fold, "sums"

        return predict

    known = asked_of(questions, {fold: predictor(fold) for fold in (-1, 0, 1, 2)}, [2, 0, 1])
    assert asked_about == [(2, "A?"), (0, "B?"), (1, "C?")]
    assert known["a"] == Asked(plan_features({"small": 0.75}, "number", "sums"), 1, 20.0)
    assert known["b"].features == plan_features({"small": 0.25}, None, "sums")
    assert questions.only([2, 0]).texts == ("C?", "A?")
