"""What a gate compares: confidence, calibrated where points are given, with a tier's threshold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from entroute.profile.points import interpolated
from entroute.strategies.cascade import CascadeConfig
from entroute.strategies.gating import Gate
from tests.builders import a_run, a_tier
from tests.fakes import strategy_parts
from tests.scripted import says, unsure
from tests.strategies.cascades import LARGE, WORDS

POINTS = ((0.4, 0.1), (0.6, 0.5), (0.9, 0.95))


@pytest.mark.parametrize(
    ("confidence", "p_right"),
    [(0.0, 0.1), (0.4, 0.1), (0.5, 0.3), (0.6, 0.5), (0.75, 0.725), (0.9, 0.95), (1.0, 0.95)],
)
def test_a_calibration_is_linear_between_its_points_and_level_beyond(
    confidence: float, p_right: float
) -> None:
    assert interpolated(POINTS, confidence) == pytest.approx(p_right)


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_calibration_keeps_the_order(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert 0.1 <= interpolated(POINTS, low) <= interpolated(POINTS, high) <= 0.95


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([[0.5, 0.5]], "at least two"),
        ([[0.5, 0.5], [0.5, 0.6]], "increase"),
        ([[0.5, 0.5], [0.6, 0.4]], "increase"),
        ([[0.5, 0.5], [0.6, 1.4]], r"\[0, 1\]"),
    ],
)
def test_points_that_do_not_rise_are_refused(points: list[list[float]], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CascadeConfig.model_validate({"calibration": points})


def test_a_threshold_outside_its_range_is_refused() -> None:
    with pytest.raises(ValidationError, match="small"):
        CascadeConfig.model_validate({"thresholds": {"small": 1.2}})


def test_nothing_seen_is_no_value() -> None:
    assert Gate(2, 0.5, calibration=POINTS).value(()) is None


@pytest.mark.parametrize(
    ("calibration", "seen"), [((), 0.5), (((0.0, 0.0), (0.5, 0.9), (1.0, 1.0)), 0.9)]
)
async def test_the_calibrated_value_is_compared_and_shown(
    calibration: tuple[tuple[float, float], ...], seen: float
) -> None:
    config = CascadeConfig(window=4, smoothing=2, threshold=0.45, calibration=calibration)
    run = a_run(a_tier("small", unsure(*WORDS)), a_tier("large", says(LARGE)))
    outcome = await config.build(strategy_parts()).run(run)
    assert outcome.tier == "small"
    assert outcome.verdicts[0].score == pytest.approx(seen)


async def test_a_calibration_that_lowers_the_value_escalates_and_says_what_it_saw() -> None:
    config = CascadeConfig(threshold=0.45, calibration=((0.0, 0.0), (0.5, 0.2), (1.0, 1.0)))
    run = a_run(a_tier("small", unsure(*WORDS)), a_tier("large", says(LARGE)))
    outcome = await config.build(strategy_parts()).run(run)
    assert outcome.tier == "large"
    assert outcome.escalations[0].confidence == pytest.approx(0.2)


async def test_each_tier_may_have_its_own_threshold() -> None:
    config = CascadeConfig(window=4, threshold=0.9, thresholds={"medium": 0.4})
    run = a_run(
        a_tier("small", unsure(*WORDS)),
        a_tier("medium", unsure(*WORDS)),
        a_tier("large", says(LARGE)),
    )
    outcome = await config.build(strategy_parts()).run(run)
    assert (outcome.tier, outcome.stop_reason) == ("medium", "confident")
