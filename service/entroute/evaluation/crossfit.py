"""Predictions of plans for prompts that no fit has seen, and what the plans really did there."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from entroute.evaluation.arms import Table, table_of
from entroute.evaluation.episodes import PlanSpec
from entroute.evaluation.plan_fit import Scale, fit_plans
from entroute.evaluation.trying import Tried
from entroute.profile.linear import plan_features
from entroute.profile.plans import Asked, Plan

FOLDS = 5

Predictor = Callable[[str], tuple[Mapping[str, float], float, str | None]]
"""Text -> P(right) by tier, expected completion tokens, class of the task."""


@dataclass(frozen=True, slots=True)
class Questions:
    """Prompts in one order.

    Attributes:
        ids: Their ids.
        texts: The whole conversations.
        forms: The answer forms they ask for.
        prompt_tokens: What one call reads.
    """

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    forms: tuple[str, ...]
    prompt_tokens: tuple[float, ...]

    def only(self, places: Sequence[int]) -> "Questions":
        """Return some of them."""
        return Questions(
            tuple(self.ids[i] for i in places),
            tuple(self.texts[i] for i in places),
            tuple(self.forms[i] for i in places),
            tuple(self.prompt_tokens[i] for i in places),
        )


def folds_of(count: int, seed: int) -> list[int]:
    """Return each place's fold, 0 to FOLDS - 1, of equal sizes, in seeded order."""
    order = np.random.default_rng(seed).permutation(count)
    folds = np.empty(count, dtype=int)
    folds[order] = np.arange(count) % FOLDS
    return [int(fold) for fold in folds]


def asked_of(
    questions: Questions, predictors: Mapping[int, Predictor], folds: Sequence[int]
) -> dict[str, Asked]:
    """Return what is known of each prompt, by the predictor that has not seen its fold."""
    known = {}
    for place, prompt in enumerate(questions.ids):
        p_right, output_tokens, task = predictors[folds[place]](questions.texts[place])
        known[prompt] = Asked(
            plan_features(p_right, questions.forms[place] or None, task),
            questions.prompt_tokens[place],
            output_tokens,
        )
    return known


@dataclass(frozen=True, slots=True)
class CrossFit:
    """What plans promise and what they did, prompt by prompt.

    Attributes:
        table: What they did.
        p: Predicted P(right), prompts x plans, NaN where a plan does not serve or was not fitted.
        cost: Predicted cost in units, likewise.
        models: What predicted, by fold that it has not seen, and plan.
    """

    table: Table
    p: np.ndarray
    cost: np.ndarray
    models: Mapping[tuple[int, str], Plan]

    def value(self, row: int, plan: str) -> tuple[float, float]:
        """Return a plan's prediction for the prompt in a row, as `arms.by_price` wants it."""
        place = self.table.plans.index(plan)
        return float(self.p[row, place]), float(self.cost[row, place])


def crossfit(
    specs: Sequence[PlanSpec],
    rows: Sequence[Tried],
    asked: Mapping[str, Asked],
    folds: Mapping[str, int],
    scale: Scale,
) -> CrossFit:
    """Predict every plan on every prompt by models of the other folds.

    Plans that a fold's models leave out for want of prompts are left out everywhere.

    Args:
        specs: The plans; their gates may differ by fold.
        rows: What the plans did.
        asked: What is known of each prompt before, by fits that have not seen it.
        folds: Fold by prompt.
        scale: What one answer is.
    """
    models: dict[tuple[int, str], Plan] = {}
    for fold in sorted(set(folds.values())):
        seen = [row for row in rows if folds[row.prompt] != fold]
        found = fit_plans(specs, seen, asked, scale)
        models |= {(fold, name): plan for name, plan in found.items()}
    return predicted(models, rows, asked, folds, scale)


def predicted(
    models: Mapping[tuple[int, str], Plan],
    rows: Sequence[Tried],
    asked: Mapping[str, Asked],
    folds: Mapping[str, int],
    scale: Scale,
) -> CrossFit:
    """Predict every plan on every prompt by given models: success and tokens need no new fit.

    Args:
        models: By fold that they have not seen, and plan.
        rows: What the plans did.
        asked: What is known of each prompt before.
        folds: Fold by prompt.
        scale: What one answer is; other prices of the same tiers are only another scale.
    """
    every = set(folds.values())
    names = {name for _, name in models}
    everywhere = {name for name in names if all((fold, name) in models for fold in every)}
    table = table_of([row for row in rows if row.plan in everywhere], scale)
    p, cost = np.full_like(table.right, np.nan), np.full_like(table.right, np.nan)
    for i, prompt in enumerate(table.prompts):
        for j, name in enumerate(table.plans):
            if np.isnan(table.right[i, j]):
                continue
            plan = models[folds[prompt], name]
            expected = plan.expected(asked[prompt], scale.runtimes, {})
            p[i, j] = plan.success.probability(asked[prompt].features)
            cost[i, j] = expected.seconds / scale.unit_s
    return CrossFit(table, p, cost, models)
