"""Calibration on few labels does not flatter and does not frighten."""

from statistics import fmean

import pytest

from entroute.feedback.measures import Measures, Scored, debiased_error, measured
from tests.feedback.traffic import seeded


def drawn(number: int, off: float, seed: int) -> list[Scored]:
    rng = seeded(seed)
    predictions = [rng.uniform(0.2, 0.9) for _ in range(number)]
    return [Scored(p, float(rng.random() < p - off)) for p in predictions]


def test_without_labels_there_is_nothing_to_say() -> None:
    assert measured([]) == Measures()


def test_a_few_labels_have_a_brier_score_alone() -> None:
    few = measured([Scored(0.5, 1.0), Scored(0.9, 1.0)])
    assert few.brier == pytest.approx(0.13)
    assert few == Measures(2, few.brier)


def test_a_perfect_predictor_shows_little_error_on_few_labels() -> None:
    assert fmean(debiased_error(drawn(150, 0.0, seed)) for seed in range(50)) < 0.05


def test_the_error_of_a_predictor_that_is_off_is_what_it_is_off_by() -> None:
    assert fmean(debiased_error(drawn(500, 0.2, seed)) for seed in range(20)) == pytest.approx(
        0.2, abs=0.02
    )


def test_skill_and_slope_tell_a_calibrated_predictor_from_a_useless_one() -> None:
    good, rng = measured(drawn(2000, 0.0, 1)), seeded(2)
    useless = measured(
        [Scored(rng.uniform(0.1, 0.9), float(rng.random() < 0.5)) for _ in range(2000)]
    )
    assert good.skill is not None
    assert useless.skill is not None
    assert good.skill > 0.1
    assert useless.skill < 0
    assert good.slope == pytest.approx(1.0, abs=0.15)
    assert useless.slope == pytest.approx(0.0, abs=0.15)


def test_labels_or_predictions_that_are_alike_leave_undefined_values_out() -> None:
    alike = measured([Scored(0.7, 1.0)] * 30)
    assert alike.skill is None
    assert alike.slope is None
    assert alike.error == pytest.approx(0.3)
