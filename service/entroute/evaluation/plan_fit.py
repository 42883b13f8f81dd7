"""Plans: from episodes to models of their success and of what they spend."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from entroute.evaluation.episodes import PlanSpec
from entroute.evaluation.success_fit import fit_success
from entroute.evaluation.trying import Tried
from entroute.profile.linear import Linear
from entroute.profile.plans import Asked, Plan, Runtime, Spend

FEWEST = 40
"""Prompts that a plan's models need."""

_RIDGE = 20.0  # of what is spent, which varies more from prompt to prompt than it can be predicted

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scale:
    """What one answer is, so that plans can be compared.

    Attributes:
        runtimes: By tier, cheapest first.
        unit_s: Worker seconds of one mean answer of the last tier.
        answer_s: Latency of one mean answer of the last tier.
        answer_tokens: Mean length of an answer.
    """

    runtimes: Mapping[str, Runtime]
    unit_s: float
    answer_s: float
    answer_tokens: float


def fit_plans(
    specs: Sequence[PlanSpec], rows: Sequence[Tried], asked: Mapping[str, Asked], scale: Scale
) -> dict[str, Plan]:
    """Fit every plan that was tried on `FEWEST` prompts, by name.

    Args:
        specs: The plans.
        rows: What they did.
        asked: What is known of each prompt, predicted by fits that have not seen it.
        scale: What one answer is.
    """
    rows = [row for row in rows if row.prompt in asked]
    counts = Counter(row.plan for row in rows)
    kept = [spec for spec in specs if counts[spec.name] >= FEWEST]
    if not kept:
        return {}
    names = {spec.name for spec in kept}
    success = fit_success([row for row in rows if row.plan in names], asked)
    return {
        spec.name: _fitted(
            spec, [r for r in rows if r.plan == spec.name], asked, scale, success[spec.name]
        )
        for spec in kept
    }


def _fitted(
    spec: PlanSpec,
    rows: Sequence[Tried],
    asked: Mapping[str, Asked],
    scale: Scale,
    success: Linear,
) -> Plan:
    features = [asked[row.prompt].features for row in rows]
    names = sorted({name for one in features for name in one})
    x = np.array([[one.get(name, 0.0) for name in names] for one in features])
    lengths = np.array([asked[row.prompt].output_tokens for row in rows])
    right = np.array([row.right for row in rows])
    tiers = sorted({tier for row in rows for tier in row.spent})
    latencies = np.array([s for row in rows for s in row.latencies_s])
    return Plan(
        name=spec.name,
        tier=spec.tier,
        strategy=spec.strategy,
        forms=tuple(sorted({row.form for row in rows})),
        needs=spec.needs,
        success=success,
        spend={tier: _spend(tier, x, rows, names, lengths) for tier in {*tiers, spec.tier}},
        worst_calls=spec.worst_calls,
        p95_answers=max(0.01, float(np.quantile(latencies, 0.95)) / scale.answer_s),
        prompts=len(rows),
        right=float(right.mean()),
        cost=float(np.mean([row.seconds(scale.runtimes) for row in rows])) / scale.unit_s,
    )


def _spend(
    tier: str, x: Array, rows: Sequence[Tried], names: Sequence[str], lengths: Array
) -> Spend:
    """Fit calls, and tokens over the length that was expected of one of the prompt's answers.

    The longer that is, the more a prompt counts: predicted tokens add up to those that were spent.
    """
    spent = np.array([row.spent.get(tier, (0.0, 0.0, 0.0)) for row in rows])
    return Spend(
        calls=_ridge(x, spent[:, 0], names, np.ones(len(x))),
        answers=_ridge(x, spent[:, 2] / lengths, names, lengths / lengths.mean()),
    )


def _ridge(x: Array, y: Array, names: Sequence[str], weights: Array) -> Linear:
    centre = x.mean(axis=0)
    model = Ridge(alpha=_RIDGE).fit(x - centre, y, sample_weight=weights)
    return _linear(float(model.intercept_), model.coef_, centre, names)


def _linear(intercept: float, weights: Array, centre: Array, names: Sequence[str]) -> Linear:
    """Return a model of centred features as one of plain ones."""
    rounded = {n: round(float(w), 5) for n, w in zip(names, weights, strict=True)}
    return Linear(intercept=round(intercept - float(weights @ centre), 5), weights=rounded)
