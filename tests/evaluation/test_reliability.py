import numpy as np
import pytest

from entroute.evaluation.reliability import calibration_of


def chances(rng: np.random.Generator, count: int) -> np.ndarray:
    return 1 / (1 + np.exp(-rng.normal(0, 1.2, count)))


def test_a_perfect_predictor_of_single_answers_shows_no_more_error_than_chance() -> None:
    found, plain = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        p = chances(rng, 120)
        right = (rng.random(120) < p).astype(float)
        found.append(calibration_of(p, right, seed)["ece"])
        order = np.array_split(np.argsort(p), 10)
        plain.append(sum(abs(float((p - right)[b].sum())) for b in order) / 120)
    assert np.mean(plain) > 0.08
    assert np.mean(found) < 0.02


def test_shares_of_several_answers_are_not_excused_by_the_scatter_of_single_ones() -> None:
    rng = np.random.default_rng(1)
    p = chances(rng, 150)
    right = rng.binomial(16, p) / 16
    # Off by .1 everywhere: much beyond what shares of 16 answers show by chance.
    assert calibration_of(np.clip(p - 0.1, 0.01, 1), right, 0)["ece"] > 0.06
    assert calibration_of(p, right, 0)["ece"] < 0.01


def test_predictions_of_one_prompt_miss_together_and_count_as_one() -> None:
    alone, together = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        once = chances(rng, 60)
        came = (rng.random(60) < once).astype(float)
        p, right, prompts = (np.repeat(x, 8) for x in (once, came, np.arange(60)))
        grouped = calibration_of(p, right, seed, prompts.tolist())
        assert grouped["prompts"] == 60
        together.append(grouped["ece"])
        alone.append(calibration_of(p, right, seed)["ece"])
    assert np.mean(together) < 0.04
    assert np.mean(alone) > 2 * np.mean(together)


def test_an_overconfident_predictor_has_a_slope_below_one() -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 1, 3000)
    right = (rng.random(3000) < 1 / (1 + np.exp(-logits))).astype(float)
    calm, sure = 1 / (1 + np.exp(-logits)), 1 / (1 + np.exp(-2 * logits))
    assert calibration_of(calm, right, 0)["slope"] == pytest.approx(1, abs=0.12)
    assert calibration_of(sure, right, 0)["slope"] == pytest.approx(0.5, abs=0.06)
    assert calibration_of(sure, right, 0)["ece"] > 0.05


def test_a_shifted_predictor_has_an_intercept() -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 1, 3000)
    right = (rng.random(3000) < 1 / (1 + np.exp(-logits - 0.7))).astype(float)
    found = calibration_of(1 / (1 + np.exp(-logits)), right, 0)
    assert found["intercept"] == pytest.approx(0.7, abs=0.12)
    assert found["slope"] == pytest.approx(1, abs=0.12)


def test_the_mean_for_everyone_has_no_skill_and_the_truth_has_all_of_it() -> None:
    right = np.array([0.0, 1.0, 1.0, 0.0, 1.0, 1.0] * 10)
    found = calibration_of(np.full(60, right.mean()), right, 0)
    assert found["brier_skill"] == pytest.approx(0)
    assert found["brier"] == pytest.approx(2 / 9)
    assert calibration_of(np.where(right > 0, 0.999, 0.001), right, 0)["brier_skill"] > 0.99


def test_one_kind_of_outcome_has_no_skill_and_no_slope() -> None:
    found = calibration_of(np.linspace(0.8, 0.9, 20), np.ones(20), 0)
    assert (found["brier_skill"], found["slope"], found["intercept"]) == (0, 0, 0)


def test_the_same_seed_gives_the_same_figures() -> None:
    rng = np.random.default_rng(4)
    p = chances(rng, 50)
    right = (rng.random(50) < 0.5).astype(float)
    assert calibration_of(p, right, 1) == calibration_of(p, right, 1)
