"""Whether plans answer right: one model of all plans, so that they differ only where data says so.

Plans fitted one by one differ by noise, and a policy that takes the best of many takes the
luckiest. Here all plans share how much the prompt's difficulty matters, each has its own mean for
each answer form, and only strong evidence gives one a slope of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from entroute.evaluation.trying import Tried
from entroute.profile.linear import TASK, Linear
from entroute.profile.plans import Asked

_STRENGTH = 1.0  # inverse penalty of the weights below, each times its own scale
_OWN_MEAN, _OWN_TASK, _SHARED, _FORM, _OWN_SLOPE = 2.0, 1.0, 1.0, 0.5, 0.15
_SCALES = {
    "mean": _OWN_MEAN,
    "task": _OWN_TASK,
    "shared": _SHARED,
    "form": _FORM,
    "plan": _OWN_SLOPE,
}
_DECIMALS = 5

_LOGIT = "logit "

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Design:
    """Columns by key, rows as (prompt, plan), and what logits were centred at."""

    columns: Mapping[Key, int]
    matrix: sparse.csr_matrix
    centre: Mapping[str, float]


def fit_success(rows: Sequence[Tried], asked: Mapping[str, Asked]) -> dict[str, Linear]:
    """Return each plan's logistic model of a right answer.

    Logit P = mean of (plan, form) + mean of (plan, class of task) + shared slope of each tier's
    logit + a slope of the form + a slope of the plan's own, each with a ridge penalty of its own.

    Args:
        rows: What plans did, on prompts in `asked`; each counts once, split by its share of right.
        asked: What is known of each prompt, by fits that have not seen it.
    """
    right = np.array([row.right for row in rows])
    plans = list(dict.fromkeys(row.plan for row in rows))
    if right.min() == right.max():
        level = float(np.clip(right[0], 0.01, 0.99))
        return dict.fromkeys(plans, Linear(intercept=round(float(np.log(level / (1 - level))), 5)))
    design = _design(rows, asked)
    both = sparse.vstack([design.matrix, design.matrix]).tocsr()
    labels = np.concatenate([np.ones(len(rows)), np.zeros(len(rows))])
    weights = np.concatenate([right, 1 - right])
    model = LogisticRegression(C=_STRENGTH, max_iter=2000)
    model.fit(both, labels, sample_weight=weights)
    found = dict(zip(design.columns, model.coef_[0], strict=True))
    forms = sorted({row.form for row in rows})
    return {
        plan: _linear(plan, forms, float(model.intercept_[0]), found, design.centre)
        for plan in plans
    }


def _design(rows: Sequence[Tried], asked: Mapping[str, Asked]) -> _Design:
    prompts = {row.prompt for row in rows}
    names = sorted({n for p in prompts for n in asked[p].features if n.startswith(_LOGIT)})
    centre = {
        name: float(np.mean([asked[p].features.get(name, 0.0) for p in prompts])) for name in names
    }
    columns: dict[Key, int] = {}
    data: list[float] = []
    places: list[tuple[int, int]] = []
    for number, row in enumerate(rows):
        for key, value in _terms(row, asked[row.prompt].features, centre):
            data.append(value * _scale(key))
            places.append((number, columns.setdefault(key, len(columns))))
    at, on = zip(*places, strict=True)
    matrix = sparse.csr_matrix((data, (at, on)), shape=(len(rows), len(columns)))
    return _Design(columns, matrix, centre)


def _terms(
    row: Tried, features: Mapping[str, float], centre: Mapping[str, float]
) -> Iterator[tuple[Key, float]]:
    yield ("mean", row.plan, row.form), 1.0
    for name in features:
        if name.startswith(TASK):
            yield ("task", row.plan, name), 1.0
    for name, middle in centre.items():
        value = features.get(name, 0.0) - middle
        yield ("shared", name), value
        yield ("form", row.form, name), value
        yield ("plan", row.plan, name), value


def _scale(key: Key) -> float:
    return _SCALES[key[0]]


def _linear(
    plan: str,
    forms: Sequence[str],
    intercept: float,
    found: Mapping[Key, float],
    centre: Mapping[str, float],
) -> Linear:
    """Return one plan's part of the model, on features that are not centred."""

    def weight(*key: str) -> float:
        return float(found.get(key, 0.0)) * _scale(key)

    weights: dict[str, float] = {}
    for name, middle in centre.items():
        weights[name] = weight("shared", name) + weight("plan", plan, name)
        intercept -= weights[name] * middle
    for form in forms:
        level = weight("mean", plan, form)
        for name, middle in centre.items():
            slope = weight("form", form, name)
            weights[f"{form} {name}"] = slope
            level -= slope * middle
        weights[f"form {form}"] = level
    for key in found:
        if key[:2] == ("task", plan):
            weights[key[2]] = weight(*key)
    rounded = {name: round(value, _DECIMALS) for name, value in weights.items()}
    return Linear(intercept=round(intercept, _DECIMALS), weights=rounded)
