from dataclasses import replace

import numpy as np
import pytest

from entroute.errors import ConfigurationError
from entroute.evaluation.text_fit import MIN_PROMPTS, Labelled, fit_text_model
from entroute.profile.features import extract
from tests.profile.texts import TIERS, labelled


def test_the_same_rows_give_the_same_model() -> None:
    rows = labelled(120)
    assert fit_text_model(rows, TIERS) == fit_text_model(rows, TIERS)


def test_probabilities_are_calibrated_on_prompts_the_fit_has_not_seen() -> None:
    model = fit_text_model(labelled(400), TIERS)
    fresh = labelled(400, seed=9)
    predicted = np.array([model.predict_features(row.features).p_right["small"] for row in fresh])
    right = np.array([row.right["small"] for row in fresh])
    for group in (predicted < 0.5, predicted >= 0.5):
        assert group.sum() > 100
        assert abs(predicted[group].mean() - right[group].mean()) < 0.1


def test_soft_labels_count_in_proportion() -> None:
    rows = [replace(row, right={"small": 0.25 if i % 2 else 0.75}) for i, row in pairs()]
    model = fit_text_model(rows, ["small"])
    mean = np.mean([model.predict_features(row.features).p_right["small"] for row in rows])
    assert mean == pytest.approx(0.5, abs=0.02)


def pairs() -> list[tuple[int, Labelled]]:
    return list(enumerate(labelled(100)))


def test_few_prompts_of_its_own_kind_are_called_strange() -> None:
    model = fit_text_model(labelled(400), TIERS)
    fresh = [model.predict_features(row.features) for row in labelled(400, seed=9)]
    assert sum(found.off_distribution for found in fresh) <= 20


def test_too_few_prompts_are_refused_with_how_many_are_missing() -> None:
    with pytest.raises(ConfigurationError, match=f"at least {MIN_PROMPTS}.*label 3 more"):
        fit_text_model(labelled(MIN_PROMPTS - 3), TIERS)


@pytest.mark.parametrize(("value", "kind"), [(1.0, "wrong"), (0.0, "right")])
def test_labels_of_one_kind_are_refused(value: float, kind: str) -> None:
    rows = [replace(row, right={**row.right, "large": value}) for row in labelled(60)]
    with pytest.raises(ConfigurationError, match=f"0 of 60 answers of 'large' are {kind}"):
        fit_text_model(rows, TIERS)


def test_two_labels_of_the_rarer_kind_are_enough() -> None:
    rows = [
        replace(row, right={"large": float(place > 1)}) for place, row in enumerate(labelled(60))
    ]
    assert (
        fit_text_model(rows, ["large"]).predict_features(rows[-1].features).p_right["large"] > 0.8
    )


def test_labels_outside_their_range_are_refused() -> None:
    rows = [replace(row, right={"small": 2 * row.right["small"]}) for row in labelled(60)]
    with pytest.raises(ConfigurationError, match=r"'small' must lie in \[0, 1\]"):
        fit_text_model(rows, ["small"])


def test_what_is_not_labelled_is_not_predicted() -> None:
    rows = [replace(row, task=None, output_tokens=None) for row in labelled(60)]
    model = fit_text_model(rows, TIERS)
    found = model.predict_features(rows[0].features)
    assert found.task is None
    assert found.output_tokens is None


def test_prompts_without_a_common_word_are_fitted_on_their_look() -> None:
    rows = [
        replace(row, features=extract("x" * (1 + place // 2 + 20 * (row.task == "maths"))))
        for place, row in enumerate(labelled(30))
    ]
    model = fit_text_model(rows, ["small"])
    assert model.space.vocabulary == ()
    assert model.predict_features(rows[1].features).task == "maths"


def test_one_class_is_no_choice() -> None:
    rows = [replace(row, task="all") for row in labelled(60)]
    assert fit_text_model(rows, TIERS).classes is None


def test_the_artefact_of_a_thousand_prompts_is_small() -> None:
    model = fit_text_model(labelled(1_000), TIERS)
    assert len(model.model_dump_json()) < 300_000
