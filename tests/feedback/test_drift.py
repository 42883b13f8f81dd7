"""The drift alarm: seldom false, soon true, and taken back on evidence."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from entroute.feedback.drift import Drift, EProcess
from tests.feedback.traffic import a_learner, labels_of, seeded


def alarmed_after(drift: Drift, shift: float, labels: int, rng: Random) -> int | None:
    """Return after how many labels, right by `shift` less than predicted, the alarm is raised."""
    for number in range(labels):
        p = rng.uniform(0.3, 0.95)
        drift.see(p, float(rng.random() < p - shift))
        if drift.alarm:
            return number
    return None


def test_false_alarms_are_as_rare_as_stated() -> None:
    alarms = [
        alarmed_after(Drift(0.1, 0.0, 500), 0.0, 400, seeded(seed)) is not None
        for seed in range(200)
    ]
    assert sum(alarms) <= 0.1 * len(alarms)


def test_predictions_that_are_off_by_less_than_the_tolerance_raise_none() -> None:
    assert all(
        alarmed_after(Drift(0.05, 0.05, 500), 0.04, 1000, seeded(seed)) is None
        for seed in range(50)
    )


def test_a_shift_raises_it_soon_after_a_start_and_after_a_long_calm() -> None:
    for seed in range(20):
        fresh, calm = Drift(0.01, 0.05, 500), Drift(0.01, 0.05, 500)
        soon = alarmed_after(fresh, 0.3, 200, seeded(seed))
        assert soon is not None
        assert alarmed_after(calm, 0.0, 1500, seeded(seed)) is None
        assert alarmed_after(calm, 0.3, 300, seeded(seed)) is not None


def test_predictions_that_tell_nothing_raise_it_though_their_mean_is_right() -> None:
    drift, rng = Drift(0.01, 0.05, 500), seeded(2)
    for _ in range(800):
        drift.see(rng.choice((0.1, 0.9)), float(rng.random() < 0.5))
    assert drift.alarm


def test_a_constant_bias_in_favour_raises_it_too() -> None:
    assert alarmed_after(Drift(0.01, 0.05, 500), -0.3, 300, seeded(4)) is not None


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=80), st.floats(0, 0.2))
def test_capital_never_falls_below_nothing(
    told: list[tuple[float, float]], tolerance: float
) -> None:
    test = EProcess(tolerance)
    for p, y in told:
        test.see(p, y)
    assert all(capital >= 0 for capital in test.capitals)
    assert test.evidence > 0


@given(st.floats(0, 1), st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=20))
def test_a_bet_at_fair_odds_gains_nothing_on_average(
    p: float, before: list[tuple[float, float]]
) -> None:
    right, wrong = EProcess(0.0), EProcess(0.0)
    for one in before:
        right.see(*one)
        wrong.see(*one)
    held = right.evidence
    right.see(p, 1.0)
    wrong.see(p, 0.0)
    assert abs(p * right.evidence + (1 - p) * wrong.evidence - held) <= 1e-9 * max(1.0, held)


def test_the_alarm_stays_while_predictions_are_off() -> None:
    drift = Drift(0.01, 0.05, 500)
    alarmed_after(drift, 0.3, 500, seeded(1))
    assert drift.alarm
    rng = seeded(2)
    for _ in range(1000):
        p = rng.uniform(0.3, 0.95)
        drift.see(p, float(rng.random() < p - 0.3))
        assert drift.alarm


def test_the_alarm_is_taken_back_when_predictions_hold_again() -> None:
    drift = Drift(0.01, 0.05, 500)
    alarmed_after(drift, 0.3, 500, seeded(1))
    rng = seeded(2)
    seen = 0
    while drift.alarm and seen < 1000:
        p = rng.uniform(0.3, 0.95)
        drift.see(p, float(rng.random() < p))
        seen += 1
    assert 50 <= seen < 500
    assert drift.log_evidence == 0


def test_a_sudden_shift_raises_it_until_the_corrections_have_caught_up() -> None:
    said: list[bool] = []
    learner, rng = a_learner(told=said.append), seeded(3)
    for label in labels_of(lambda p: p, 300, rng):
        learner.learn(label)
    assert not said
    for label in labels_of(lambda p: max(0.02, p - 0.4), 3000, rng):
        learner.learn(label)
    assert said == [True, False]
    assert not learner.drift.alarm


def test_learning_from_calibrated_predictions_raises_none() -> None:
    for seed in range(4):
        learner = a_learner(false_alarms=0.05)
        for label in labels_of(lambda p: p, 1000, seeded(seed)):
            learner.learn(label)
        assert not learner.drift.alarm
