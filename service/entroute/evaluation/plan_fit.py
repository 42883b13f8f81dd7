"""Plans: from episodes to models of their success and of what they spend."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge

from entroute.evaluation.episodes import Episode, PlanSpec, Spent
from entroute.profile.linear import Linear
from entroute.profile.plans import Asked, Plan, Runtime, Spend

FEWEST = 40
"""Prompts that a plan's models need."""

_SHRINKAGE = 0.3  # of the success model: inverse strength of the ridge towards the plan's mean
_RIDGE = 20.0  # of what is spent, which varies more from prompt to prompt than it can be predicted

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tried:
    """One plan on one prompt, over its permutations.

    Attributes:
        prompt: The prompt's id.
        form: The answer form it asks for.
        plan: The plan's name.
        right: Share of permutations answered right, in [0, 1].
        spent: Mean spending by tier: calls, prompt tokens, completion tokens.
        latencies_s: One a permutation.
    """

    prompt: str
    form: str
    plan: str
    right: float
    spent: Mapping[str, tuple[float, float, float]]
    latencies_s: tuple[float, ...]

    def seconds(self, runtimes: Mapping[str, Runtime]) -> float:
        """Return the worker seconds it took."""
        return sum(
            runtimes[tier].seconds(read, made) for tier, (_, read, made) in self.spent.items()
        )


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


def tried(episodes: Iterable[Episode]) -> list[Tried]:
    """Return each plan on each prompt once, permutations averaged.

    Answers that nothing could grade are left out.

    Raises:
        ValueError: A plan asked for more samples than its specification says.
    """
    groups: dict[tuple[str, str], list[Episode]] = defaultdict(list)
    for episode in episodes:
        if episode.failures:
            raise ValueError(f"'{episode.plan}' ran out of samples on prompt {episode.prompt}")
        groups[episode.prompt, episode.plan].append(episode)
    return [
        Tried(
            prompt,
            group[0].form,
            plan,
            float(np.mean([bool(e.right) for e in group])),
            _mean_spent([e.spent for e in group]),
            tuple(e.latency_s for e in group),
        )
        for (prompt, plan), group in groups.items()
        if not any(e.right is None for e in group)
    ]


def _mean_spent(spent: Sequence[Mapping[str, Spent]]) -> dict[str, tuple[float, float, float]]:
    tiers = {tier for one in spent for tier in one}
    nothing = Spent(0, 0, 0)
    means: dict[str, tuple[float, float, float]] = {}
    for tier in tiers:
        rows = [one.get(tier, nothing) for one in spent]
        calls, read, made = (
            float(np.mean([getattr(row, name) for row in rows]))
            for name in ("calls", "prompt_tokens", "completion_tokens")
        )
        means[tier] = (calls, read, made)
    return means


def fit_plan(
    spec: PlanSpec, rows: Sequence[Tried], asked: Mapping[str, Asked], scale: Scale
) -> Plan | None:
    """Fit a plan's models, None on fewer than `FEWEST` prompts.

    Args:
        spec: The plan.
        rows: What it did.
        asked: What is known of each prompt, predicted by fits that have not seen it.
        scale: What one answer is.
    """
    rows = [row for row in rows if row.prompt in asked]
    if len(rows) < FEWEST:
        return None
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
        success=_logistic(x, right, names),
        spend={tier: _spend(tier, x, rows, names, lengths) for tier in {*tiers, spec.tier}},
        worst_calls=spec.worst_calls,
        p95_answers=max(0.01, float(np.quantile(latencies, 0.95)) / scale.answer_s),
        prompts=len(rows),
        right=float(right.mean()),
        cost=float(np.mean([row.seconds(scale.runtimes) for row in rows])) / scale.unit_s,
    )


def _logistic(x: Array, right: Array, names: Sequence[str]) -> Linear:
    """Fit P(right), shrunk to its mean: each prompt counts once, split by its share of right."""
    mean = float(np.clip(right.mean(), 0.01, 0.99))
    if right.min() == right.max():
        return Linear(intercept=float(np.log(mean / (1 - mean))))
    centre = x.mean(axis=0)
    both = np.vstack([x - centre, x - centre])
    labels = np.concatenate([np.ones(len(x)), np.zeros(len(x))])
    weights = np.concatenate([right, 1 - right])
    model = LogisticRegression(C=_SHRINKAGE).fit(both, labels, sample_weight=weights)
    return _linear(float(model.intercept_[0]), model.coef_[0], centre, names)


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
