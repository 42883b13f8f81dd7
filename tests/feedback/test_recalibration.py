"""Corrections converge where predictions are off and do nothing where they are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.feedback.labels import Label
from entroute.feedback.recalibration import NOTHING, Platt, Prior, effective, fitted
from entroute.profile.linear import logit, sigmoid
from tests.feedback.traffic import a_label, a_learner, labels_of, seeded

POINTS = (0.1, 0.25, 0.5, 0.75, 0.9)


def furthest(correction: Platt, true: Platt) -> float:
    return max(abs(correction.corrected(p) - true.corrected(p)) for p in POINTS)


@pytest.mark.parametrize(
    "true", [Platt(-1.0, 1.0), Platt(0.8, 1.0), Platt(0.0, 0.5), Platt(-0.7, 1.4)], ids=str
)
def test_a_shift_is_learned(true: Platt) -> None:
    found = fitted(labels_of(true.corrected, 4000, seeded(1)), Prior())
    assert furthest(found, true) < 0.04
    assert furthest(NOTHING, true) > 0.1


def test_calibrated_predictions_are_left_alone() -> None:
    for seed in range(20):
        found = fitted(labels_of(lambda p: p, 500, seeded(seed)), Prior())
        assert furthest(found, NOTHING) < 0.08


def test_a_few_labels_move_little_and_none_nothing() -> None:
    assert fitted([], Prior()) == NOTHING
    found = fitted([a_label(0.0, 0.7) for _ in range(3)], Prior())
    assert 0.5 < found.corrected(0.7) < 0.7


def test_a_score_counts_as_a_share_of_a_right_answer() -> None:
    halves = fitted([a_label(0.5, 0.7) for _ in range(200)], Prior())
    mixed = fitted([a_label(float(i % 2), 0.7) for i in range(200)], Prior())
    assert halves.corrected(0.7) == pytest.approx(mixed.corrected(0.7), abs=1e-6)


def test_useless_predictions_are_drawn_together_and_never_turned_over() -> None:
    turned = fitted(labels_of(lambda p: 1 - p, 2000, seeded(3)), Prior())
    corrected = [turned.corrected(p) for p in POINTS]
    assert corrected == sorted(corrected)
    assert corrected[-1] - corrected[0] < 0.15


def test_a_plan_without_labels_gets_what_all_plans_share() -> None:
    learner, rng = a_learner(), seeded(5)
    for label in labels_of(lambda p: max(0.0, p - 0.25), 400, rng, plan="seen"):
        learner.learn(label)
    assert learner.corrected("unseen", 0.7) == pytest.approx(0.45, abs=0.12)
    assert learner.corrected("seen", 0.7) == pytest.approx(0.45, abs=0.1)


def test_plans_that_differ_are_corrected_apart() -> None:
    learner, rng = a_learner(), seeded(6)
    good = labels_of(lambda p: sigmoid(logit(p) + 0.8), 500, rng, plan="good")
    bad = labels_of(lambda p: sigmoid(logit(p) - 0.8), 500, rng, plan="bad")
    for pair in zip(good, bad, strict=True):
        for label in pair:
            learner.learn(label)
    assert learner.corrected("good", 0.5) > 0.6
    assert learner.corrected("bad", 0.5) < 0.4


def test_audited_requests_undo_the_selection() -> None:
    """Plan p is chosen for easy prompts (right .9) and never for the others (.4), all said .65."""
    rng, share, plans = seeded(8), 0.2, 2
    labels: list[Label] = []
    for _ in range(8000):
        easy = rng.random() < 0.5
        propensity = share / plans + (1 - share) * easy
        if rng.random() < propensity:
            right = rng.random() < (0.9 if easy else 0.4)
            labels.append(a_label(float(right), 0.65, propensity=propensity))
    weighted = fitted(labels, Prior()).corrected(0.65)
    selected = fitted([a_label(label.value, 0.65) for label in labels], Prior()).corrected(0.65)
    assert weighted == pytest.approx(0.65, abs=0.03)
    assert selected > 0.8


def test_one_heavy_label_weighs_as_few_labels_should() -> None:
    labels = [a_label(1.0, 0.7) for _ in range(50)]
    heavy = fitted([*labels, a_label(0.0, 0.7, propensity=1e-6)], Prior())
    assert heavy.corrected(0.7) > 0.45


@given(st.lists(st.floats(0.05, 1e4), min_size=1, max_size=30))
def test_effective_weights_sum_to_no_more_than_their_number(weights: list[float]) -> None:
    total = sum(effective(weights))
    assert 1 - 1e-9 <= total <= len(weights) + 1e-9


ANY_LABELS = st.lists(
    st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(1e-9, 1)), min_size=1, max_size=40
)


@given(ANY_LABELS, st.floats(0, 1), st.floats(0, 1))
def test_whatever_is_learned_keeps_probabilities_in_order(
    told: list[tuple[float, float, float]], one: float, other: float
) -> None:
    labels = [a_label(value, p, propensity=share) for value, p, share in told]
    found = fitted(labels, Prior())
    low, high = sorted((one, other))
    assert 0 <= found.corrected(low) <= found.corrected(high) <= 1
