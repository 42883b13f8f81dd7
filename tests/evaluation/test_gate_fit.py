from dataclasses import replace
from math import log

import numpy as np
import pytest

from entroute.confidence import confidence, tail_confidence
from entroute.evaluation.gate_fit import (
    FEWEST,
    Risk,
    Signalled,
    calibrated,
    error_bound,
    fit_gates,
    risk_controlled,
)
from entroute.evaluation.samples import Sample
from entroute.profile.points import check_points, interpolated
from tests.evaluation.banks import MODELS, a_sample

WHAT = ("small", "number", "cascade")
GRID = np.linspace(0, 1, 2001)


def error_at(signal: np.ndarray) -> np.ndarray:
    """Return how often a signal's answers are wrong: 2 in 100 at the top, 9 in 10 at the bottom."""
    return 0.02 + 0.88 * np.clip((0.7 - signal) / 0.7, 0, 1)


def a_world(rng: np.random.Generator, count: int) -> list[Signalled]:
    signal = rng.random(count)
    wrong = rng.random(count) < error_at(signal)
    return [
        Signalled(str(i), True, float(s), not bool(w))
        for i, (s, w) in enumerate(zip(signal, wrong, strict=True))
    ]


def test_accepted_answers_err_more_than_alpha_in_no_more_worlds_than_delta() -> None:
    risk = Risk(alpha=0.1, delta=0.1)
    failed, accepted = 0, []
    for seed in range(200):
        found = risk_controlled(a_world(np.random.default_rng(seed), 200), risk, WHAT)
        if found.threshold is None:
            accepted.append(0.0)
            continue
        accepted.append(1 - found.threshold)
        failed += error_at(GRID[found.threshold <= GRID]).mean() > risk.alpha
    # Beyond 29 of 200 chance has no part in it any more at a true rate of one in ten.
    assert failed <= 29
    # Half of all answers may be accepted; a gate that accepts next to none would be safe, too.
    assert np.mean(accepted) > 0.3


def test_without_control_the_same_worlds_fail_much_more_often() -> None:
    failed = 0
    for seed in range(100):
        seen = sorted(a_world(np.random.default_rng(seed), 200), key=lambda s: -s.value)
        wrong = np.cumsum([not s.right for s in seen])
        good = [i for i in range(22, 200) if wrong[i] / (i + 1) <= 0.1]
        failed += error_at(GRID[seen[good[-1]].value <= GRID]).mean() > 0.1
    assert failed > 25


def test_a_bound_holds_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    errors = rng.binomial(100, 0.08, 4000)
    held = np.mean([error_bound(int(e), 100, 0.1) >= 0.08 for e in errors])
    assert 0.9 <= held < 0.96


def test_bounds_have_their_published_values() -> None:
    assert error_bound(0, 59, 0.05) == pytest.approx(1 - 0.05 ** (1 / 59))
    assert error_bound(0, 59, 0.05) < 0.05 < error_bound(0, 58, 0.05)
    assert error_bound(3, 3, 0.1) == 1
    assert error_bound(0, 0, 0.1) == 1
    assert Risk(0.05, 0.05).fewest == 59
    assert Risk(0.1, 0.1).fewest == 22


def test_too_few_prompts_prove_nothing() -> None:
    seen = [Signalled(str(i), True, 0.9, True) for i in range(21)]
    found = risk_controlled(seen, Risk(), WHAT)
    assert (found.threshold, found.accepted, found.prompts) == (None, 0, 21)
    assert risk_controlled([*seen, replace(seen[0], prompt="x")], Risk(), WHAT).accepted == 22


def test_one_sample_a_prompt_counts() -> None:
    seen = [Signalled(str(i), k == 0, 0.9, True) for i in range(10) for k in range(4)]
    assert risk_controlled(seen, Risk(), WHAT).threshold is None


def test_equal_signals_are_accepted_together_or_not_at_all() -> None:
    seen = [Signalled(str(i), True, 0.5, i >= 40) for i in range(200)]
    found = risk_controlled(seen, Risk(), WHAT)
    assert found.threshold is None
    seen = [Signalled(str(i), True, 0.5, i >= 4) for i in range(200)]
    found = risk_controlled(seen, Risk(), WHAT)
    assert (found.threshold, found.accepted, found.wrong) == (0.5, 200, 4)


def test_a_calibration_rises_within_its_range() -> None:
    rng = np.random.default_rng(6)
    points = calibrated(a_world(rng, 400))
    assert check_points(points) == points
    for signal, wrong in ((0.1, error_at(np.array(0.1))), (0.9, error_at(np.array(0.9)))):
        assert interpolated(points, signal) == pytest.approx(1 - float(wrong), abs=0.12)


def test_a_signal_that_says_nothing_or_the_opposite_has_no_calibration() -> None:
    upside_down = [replace(s, value=1 - s.value) for s in a_world(np.random.default_rng(7), 200)]
    assert calibrated(upside_down) == ()
    constant = [replace(s, value=0.5) for s in upside_down]
    assert calibrated(constant) == ()


@pytest.mark.parametrize("right", [True, False])
def test_labels_of_one_kind_and_few_samples_have_no_calibration(*, right: bool) -> None:
    seen = a_world(np.random.default_rng(8), FEWEST)
    assert calibrated(seen) != ()
    assert calibrated([replace(s, right=right) for s in seen]) == ()
    assert calibrated(seen[:-1]) == ()


def graded(tier: str, place: int, index: int = 0) -> Sample:
    """Return a sample that is surer the later its prompt, and then right."""
    rng = np.random.default_rng([place, index])
    sure = min(0.99, max(0.2, place / 80 + rng.normal(0, 0.1)))
    top = (log(sure), log((1 - sure) / 2), log((1 - sure) / 2))
    plain = a_sample("So.", tier)
    return replace(
        plain,
        prompt=f"q{place:03}",
        index=index,
        top=(top,) * len(plain.tokens),
        right=bool(rng.random() < sure),
    )


SAMPLES = [graded("small", place, index) for place in range(120) for index in range(2)]
FORMS = {f"q{place:03}": "number" for place in range(120)}


def test_gates_are_tested_on_prompts_that_their_fit_has_not_seen() -> None:
    gates = fit_gates(SAMPLES, FORMS, MODELS, Risk(0.3, 0.2), np.random.default_rng(0))
    cascade, reasc = gates.fits
    assert (cascade.form, cascade.strategy, cascade.prompts) == ("number", "cascade", 60)
    assert (reasc.form, reasc.strategy, reasc.prompts) == ("answers", "reasc", 60)
    assert check_points(gates.points["small", "number"])
    (signal,) = gates.signals
    assert (signal.model, signal.accept_above) == ("small-model", reasc.threshold)
    tails = [tail_confidence(sample.token_logprobs) for sample in SAMPLES]
    assert signal.mean == pytest.approx(np.mean([t for t in tails if t is not None]))


def test_turning_the_labels_of_the_tested_half_leaves_the_calibration_alone() -> None:
    rng = np.random.default_rng(0)
    tested = {f"q{i:03}" for i in rng.permutation(120)[60:]}
    turned = [replace(s, right=not s.right) if s.prompt in tested else s for s in SAMPLES]
    before = fit_gates(SAMPLES, FORMS, MODELS, Risk(0.3, 0.2), np.random.default_rng(0))
    after = fit_gates(turned, FORMS, MODELS, Risk(0.3, 0.2), np.random.default_rng(0))
    assert after.points == before.points
    assert after.fits != before.fits


def test_a_threshold_is_in_the_unit_of_the_gates_raw_signal() -> None:
    gates = fit_gates(SAMPLES, FORMS, MODELS, Risk(0.3, 0.2), np.random.default_rng(0))
    threshold = gates.fits[0].threshold
    assert threshold in {confidence(s.token_logprobs, 16) for s in SAMPLES}


def test_added_draws_unjudged_ones_and_other_prompts_are_left_out() -> None:
    noise = [
        replace(SAMPLES[0], index=7, extra=True, right=False),
        replace(SAMPLES[0], index=8, right=None),
        replace(SAMPLES[0], prompt="of another fold"),
    ]
    rng = np.random.default_rng
    one = fit_gates(SAMPLES, FORMS, MODELS, Risk(), rng(0))
    assert fit_gates([*SAMPLES, *noise], FORMS, MODELS, Risk(), rng(0)) == one


def test_code_has_gates_of_its_own_and_no_votes() -> None:
    code = dict.fromkeys(FORMS, "code")
    gates = fit_gates(SAMPLES, code, MODELS, Risk(), np.random.default_rng(0))
    assert set(gates.points) == {("small", "code")}
    assert gates.signals == ()
    assert [fit.strategy for fit in gates.fits] == ["cascade"]
