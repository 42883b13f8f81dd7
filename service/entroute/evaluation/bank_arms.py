"""The arms of a bank's replay: the policy beside uniform budgets, at several cost ratios.

Source: the arms and the primary comparison of Snell et al. (2408.03314), with what a sceptic adds:
the best uniform budget per task, since recognising the task passes for knowing the difficulty.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from entroute.evaluation.arms import (
    RESAMPLES,
    SINGLE,
    Array,
    Difference,
    Point,
    Table,
    by_price,
    cost_for,
    difference,
    met,
    mixed,
    uniform_points,
)
from entroute.evaluation.calibrating import PRICES
from entroute.evaluation.crossfit import CrossFit, predicted
from entroute.evaluation.episodes import PlanSpec
from entroute.evaluation.plan_fit import Scale
from entroute.evaluation.studying import Manner, Study
from entroute.profile.plans import Runtime

UNIFORM, PER_TASK, QUERY, FIRST, POLICY, ORACLE, RANDOM = (
    "best uniform",
    "best uniform per task",
    "query-only",
    "after the first sample",
    "compute_optimal",
    "oracle",
    "random",
)

_FEWEST_OF_TASK = 10  # prompts on which a task's mean is better than its answer form's
_NOTHING = (-1e3, 0.0)  # of a plan that no other fold has tried: the last to be taken

Value = Callable[[int, str], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Compared:
    """The policy against one baseline at one cost.

    Attributes:
        baseline: What it is compared with.
        cost: Mean cost of both, in units.
        quality: The policy's accuracy there.
        base: The baseline's accuracy there.
        gain: Paired difference of accuracies, with its interval.
        p: Two-sided bootstrap p of no difference, not corrected.
        k: Cost of the baseline at the policy's accuracy over the policy's cost; None beyond what
            the baseline reaches.
    """

    baseline: str
    cost: float
    quality: float
    base: float
    gain: Difference
    p: float
    k: float | None


@dataclass(frozen=True, slots=True)
class Arms:
    """Every arm at one cost ratio.

    Attributes:
        ratio: What one mean large answer costs in mean small ones; None for as measured.
        curves: Operating points by arm.
        compared: The policy against the others, at the cost of one large answer and of half one.
        prompts: Prompts compared.
    """

    ratio: float | None
    curves: Mapping[str, tuple[Point, ...]]
    compared: tuple[Compared, ...]
    prompts: int


def arms_of(
    study: Study,
    manner: Manner,
    native: CrossFit,
    ratio: float | None,
    costs: Sequence[float],
) -> Arms:
    """Return every arm's curve and the comparisons with it.

    Args:
        study: The bank under study.
        manner: How it was studied.
        native: What plans promise, of `crossfitted`.
        ratio: What one mean large answer costs in mean small ones; None for as measured.
        costs: Mean costs to compare at, in large answers.
    """
    scale = study.scale if ratio is None else scaled(study, ratio)
    specs = study.specs(-1, manner.votes_above)
    folds = study.fold_of
    fitted = predicted(native.models, study.rows, study.asked, folds, scale)
    table = fitted.table
    uniform = uniform_points(table, families_of(specs))
    singles = {f"{tier}{SINGLE}" for tier in study.evidence.models}
    by_task = per_task(table, folds, {p.id: p.task for p in study.evidence.prompts})
    curves: dict[str, Sequence[Point]] = {
        UNIFORM: uniform,
        PER_TASK: by_price(table, by_task, PRICES),
        RANDOM: [point for point in uniform if point.label in singles],
        QUERY: by_price(only(table, singles), fitted.value, PRICES),
        FIRST: by_price(table, _after_first(by_task, singles), PRICES),
        POLICY: by_price(table, fitted.value, PRICES),
        ORACLE: by_price(table, _hindsight(table), PRICES),
    }
    rng = np.random.default_rng(manner.seed)
    compared = [
        found
        for cost in costs
        for baseline in (UNIFORM, PER_TASK, RANDOM, QUERY, FIRST, ORACLE)
        if (found := _compared(curves, baseline, cost, rng)) is not None
    ]
    kept = {label: tuple(points) for label, points in curves.items()}
    return Arms(ratio, kept, tuple(compared), len(table.prompts))


def scaled(study: Study, ratio: float) -> Scale:
    """Return the scale at which a mean answer of the last tier costs `ratio` of the first's."""
    first = next(iter(study.evidence.models))
    rows = [row for row in study.rows if row.plan == f"{first} x1"]
    small_s = float(np.mean([row.seconds(study.scale.runtimes) for row in rows]))
    factor = study.scale.unit_s / ratio / small_s
    old = study.scale.runtimes[first]
    cheaper = Runtime(
        prompt_s=old.prompt_s * factor,
        token_s=old.token_s * factor,
        stream_token_s=old.stream_token_s,
        batch=old.batch,
    )
    return replace(study.scale, runtimes={**study.scale.runtimes, first: cheaper})


def families_of(specs: Sequence[PlanSpec]) -> dict[str, list[str]]:
    """Return the plans of each family, and its tier's single answer for what they do not serve."""
    families: dict[str, list[str]] = defaultdict(list)
    for spec in specs:
        families[spec.family].append(spec.name)
    return {
        family: [*plans, f"{next(s.tier for s in specs if s.family == family)} x1"]
        for family, plans in families.items()
    }


def only(table: Table, plans: set[str]) -> Table:
    """Return a table of some plans."""
    kept = [i for i, plan in enumerate(table.plans) if plan in plans]
    return Table(
        table.prompts,
        table.forms,
        tuple(table.plans[i] for i in kept),
        table.right[:, kept],
        table.cost[:, kept],
    )


def per_task(table: Table, folds: Mapping[str, int], tasks: Mapping[str, str]) -> Value:
    """Return what a policy expects that knows nothing but the task and the answer form.

    Means over the other folds' prompts of that task and form, of the form alone where the task
    has few of them.
    """
    groups = [
        f"{tasks[prompt]} {form}" for prompt, form in zip(table.prompts, table.forms, strict=True)
    ]
    narrow = _means(table, folds, groups, _FEWEST_OF_TASK)
    wide = _means(table, folds, table.forms, 1)

    def value(row: int, plan: str) -> tuple[float, float]:
        fold = folds[table.prompts[row]]
        found = narrow.get((fold, groups[row], plan)) or wide.get((fold, table.forms[row], plan))
        return found or _NOTHING

    return value


def _means(
    table: Table, folds: Mapping[str, int], groups: Sequence[str], fewest: int
) -> dict[tuple[int, str, str], tuple[float, float]]:
    """Return each plan's mean (right, cost) on a group's prompts outside a fold."""
    place = np.array([folds[prompt] for prompt in table.prompts])
    of = np.array(groups)
    means: dict[tuple[int, str, str], tuple[float, float]] = {}
    for fold in sorted(set(folds.values())):
        for group in sorted(set(groups)):
            rows = (place != fold) & (of == group)
            for j, plan in enumerate(table.plans):
                served = rows & ~np.isnan(table.right[:, j])
                if served.sum() >= fewest:
                    right, cost = table.right[served, j].mean(), table.cost[served, j].mean()
                    means[fold, group, plan] = (float(right), float(cost))
    return means


def _after_first(inner: Value, singles: set[str]) -> Value:
    """Return a view of the plans that look at a first sample before they go on."""

    def value(row: int, plan: str) -> tuple[float, float]:
        p, cost = inner(row, plan)
        return (p - 10.0, cost) if plan in singles else (p, cost)

    return value


def _hindsight(table: Table) -> Value:
    def value(row: int, plan: str) -> tuple[float, float]:
        j = table.plans.index(plan)
        return float(table.right[row, j]), float(table.cost[row, j])

    return value


def _compared(
    curves: Mapping[str, Sequence[Point]], baseline: str, cost: float, rng: np.random.Generator
) -> Compared | None:
    ours, theirs = met(curves[POLICY], cost), mixed(curves[baseline], cost)
    if ours is None or theirs is None:
        return None
    needed = cost_for(curves[baseline], ours.quality)
    return Compared(
        baseline=baseline,
        cost=cost,
        quality=ours.quality,
        base=theirs.quality,
        gain=difference(ours.right, theirs.right, rng),
        p=_p_value(ours.right - theirs.right, rng),
        k=None if needed is None else needed / ours.spent,
    )


def _p_value(gaps: Array, rng: np.random.Generator) -> float:
    """Return the two-sided bootstrap p of a mean of 0: means of the centred gaps beyond it."""
    centred = gaps - gaps.mean()
    picks = rng.integers(0, len(gaps), (RESAMPLES, len(gaps)))
    beyond = np.abs(centred[picks].mean(axis=1)) >= abs(gaps.mean())
    return float((beyond.sum() + 1) / (RESAMPLES + 1))


def corrected(arms: Sequence[Arms]) -> list[list[float | None]]:
    """Return the p-values of all comparisons together, as Holm corrects them.

    The first one with the best uniform budget is the primary one and keeps its own; the oracle is
    a bound and no hypothesis: None.
    """
    places = [(i, j) for i, found in enumerate(arms) for j in range(len(found.compared))]
    by_place = {(i, j): arms[i].compared[j] for i, j in places}
    primary = next((place for place in places if by_place[place].baseline == UNIFORM), None)
    tested = [p for p in places if p != primary and by_place[p].baseline != ORACLE]
    found = dict(zip(tested, holm([by_place[place].p for place in tested]), strict=True))
    if primary is not None:
        found[primary] = by_place[primary].p
    return [[found.get((i, j)) for j in range(len(one.compared))] for i, one in enumerate(arms)]


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for how many they are, in the same order.

    Source: Holm, A simple sequentially rejective multiple test procedure (1979).
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected = [0.0] * len(p_values)
    worst = 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = worst
    return corrected
