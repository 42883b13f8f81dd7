"""One model of all plans: what it finds, and that it keeps them apart only where data does."""

from random import Random

import pytest

from entroute.evaluation.success_fit import fit_success
from entroute.evaluation.trying import Tried
from entroute.profile.linear import logit, plan_features
from entroute.profile.plans import Asked


def asked(p: float, form: str = "number", task: str | None = None) -> Asked:
    return Asked(plan_features({"small": p}, form, task), 10.0, 100.0)


def tried(prompt: str, plan: str, right: float, form: str = "number") -> Tried:
    return Tried(prompt, form, plan, right, {"small": (1.0, 10.0, 100.0)}, (1.0,))


def world(count: int = 400) -> tuple[list[Tried], dict[str, Asked]]:
    """Return prompts whose chance is what the text says; the plan `better` is right more often."""
    rng = Random(0)  # noqa: S311 - a test repeats itself
    rows, known = [], {}
    for number in range(count):
        p = rng.uniform(0.1, 0.9)
        prompt = f"q{number}"
        known[prompt] = asked(p)
        rows.append(tried(prompt, "plain", float(rng.random() < p)))
        rows.append(tried(prompt, "better", float(rng.random() < p + 0.1)))
    return rows, known


def test_success_rises_with_what_the_text_promises() -> None:
    models = fit_success(*world())
    chances = [models["plain"].probability(asked(p).features) for p in (0.2, 0.5, 0.8)]
    assert chances == sorted(chances)
    assert chances == pytest.approx([0.2, 0.5, 0.8], abs=0.08)


def test_a_plan_that_is_better_everywhere_is_promised_more_everywhere() -> None:
    models = fit_success(*world())
    for p in (0.2, 0.5, 0.8):
        features = asked(p).features
        assert models["better"].probability(features) > models["plain"].probability(features)


def test_plans_share_the_slope_that_neither_has_the_data_for() -> None:
    rows, known = world()
    scarce = [row for row in rows if row.plan == "plain"] + [
        row for row in rows if row.plan == "better"
    ][:40]
    models = fit_success(scarce, known)
    slopes = [
        model.value(asked(0.8).features) - model.value(asked(0.2).features)
        for model in models.values()
    ]
    assert slopes[1] == pytest.approx(slopes[0], rel=0.25)


def test_a_class_of_tasks_has_its_own_mean() -> None:
    rows, known = [], {}
    for number in range(200):
        task = "easy" if number % 2 else "hard"
        known[f"q{number}"] = asked(0.5, task=task)
        rows.append(tried(f"q{number}", "plain", 0.9 if task == "easy" else 0.1))
    (model,) = fit_success(rows, known).values()
    assert model.probability(asked(0.5, task="easy").features) > 0.8
    assert model.probability(asked(0.5, task="hard").features) < 0.2


def test_answers_of_one_kind_alone_give_a_level() -> None:
    rows = [tried(f"q{i}", "plain", 1.0) for i in range(50)]
    (model,) = fit_success(rows, {f"q{i}": asked(0.5) for i in range(50)}).values()
    assert model.value({}) == pytest.approx(logit(0.98), rel=0.3)
    assert model.weights == {}
