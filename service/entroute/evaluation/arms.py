"""Policies against uniform budgets: quality and cost on the same prompts, with intervals.

An arm gives every prompt a mix of plans. Baselines may choose with hindsight on the very prompts
they are judged on: that flatters them, so a gain over them is a lower bound.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from entroute.evaluation.plan_fit import Scale
from entroute.evaluation.trying import Tried

Array = NDArray[np.float64]
RESAMPLES = 4000

SINGLE = " x1"
"""Ends the name of a tier's single answer, which serves every prompt."""


@dataclass(frozen=True, slots=True)
class Table:
    """What every plan did on every prompt.

    Attributes:
        prompts: Ids, in order.
        forms: Answer form of each.
        plans: Names, in order.
        right: Share of right answers, prompts x plans; NaN where a plan does not serve a prompt.
        cost: Cost in units, likewise.
    """

    prompts: tuple[str, ...]
    forms: tuple[str, ...]
    plans: tuple[str, ...]
    right: Array
    cost: Array

    def choose(self, plans: Sequence[str]) -> tuple[Array, Array]:
        """Return right and cost of one plan a prompt, each of length prompts.

        Raises:
            KeyError: A plan does not serve its prompt.
        """
        places = [self.plans.index(plan) for plan in plans]
        rows = np.arange(len(self.prompts))
        right, cost = self.right[rows, places], self.cost[rows, places]
        if np.isnan(right).any():
            where = int(np.isnan(right).argmax())
            raise KeyError(f"'{plans[where]}' does not serve prompt {self.prompts[where]}")
        return right, cost


def table_of(rows: Sequence[Tried], scale: Scale) -> Table:
    """Return the table of what was tried; prompts that lack a single answer are left out."""
    plans = tuple(dict.fromkeys(row.plan for row in rows))
    singles = {plan for plan in plans if plan.endswith(SINGLE)}
    served: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        served[row.prompt].add(row.plan)
    rows = [row for row in rows if singles <= served[row.prompt]]
    forms = {row.prompt: row.form for row in rows}
    prompts = tuple(sorted(forms))
    right = np.full((len(prompts), len(plans)), np.nan)
    cost = np.full_like(right, np.nan)
    at = {prompt: i for i, prompt in enumerate(prompts)}
    on = {plan: i for i, plan in enumerate(plans)}
    for row in rows:
        place = at[row.prompt], on[row.plan]
        right[place] = row.right
        cost[place] = row.seconds(scale.runtimes) / scale.unit_s
    return Table(prompts, tuple(forms[p] for p in prompts), plans, right, cost)


@dataclass(frozen=True, slots=True)
class Point:
    """One operating point of an arm: right and cost of each prompt, in the table's order."""

    label: str
    right: Array
    cost: Array

    @property
    def quality(self) -> float:
        """Mean share of right answers."""
        return float(self.right.mean())

    @property
    def spent(self) -> float:
        """Mean cost in units."""
        return float(self.cost.mean())


def mixed(points: Sequence[Point], cost: float) -> Point | None:
    """Return the best mixture of two points that spends `cost` on average.

    Prompts are dealt to the two by chance, in the share that meets the cost: the upper hull of
    what the points reach. None where none is so cheap; beyond the dearest the best one is taken.
    """
    known = [(point, point.spent, point.quality) for point in points]
    cheap = [one for one in known if one[1] <= cost]
    if not cheap:
        return None
    best, _, reached = max(cheap, key=lambda one: one[2])
    pair: tuple[Point, Point, float] | None = None
    for low, spent, quality in cheap:
        for high, more, better in known:
            if more > cost and better > quality:
                share = (cost - spent) / (more - spent)
                if (1 - share) * quality + share * better > reached:
                    reached = (1 - share) * quality + share * better
                    pair = low, high, share
    return best if pair is None else _between(*pair)


def _between(low: Point, high: Point, share: float) -> Point:
    label = f"{1 - share:.2f} {low.label} + {share:.2f} {high.label}"
    right = (1 - share) * low.right + share * high.right
    return Point(label, right, (1 - share) * low.cost + share * high.cost)


def met(points: Sequence[Point], cost: float) -> Point | None:
    """Return the mixture of two neighbouring points that spends `cost` on average.

    Unlike `mixed`, nothing is chosen by what turned out right. None where none is so cheap;
    beyond the dearest that one is taken.

    Args:
        points: In the order of their lambdas, dearest first.
        cost: Mean cost in units.
    """
    at = next((i for i, point in enumerate(points) if point.spent <= cost), None)
    if not at:
        return None if at is None else points[0]
    high, low = points[at - 1], points[at]
    return _between(low, high, (cost - low.spent) / (high.spent - low.spent))


def cost_for(points: Sequence[Point], quality: float) -> float | None:
    """Return the least cost at which mixtures of points reach a quality; None beyond them."""
    known = [(point.spent, point.quality) for point in points]
    reached = [one for one in known if one[1] >= quality]
    if not reached:
        return None
    least = min(spent for spent, _ in reached)
    for spent, worse in known:
        for more, better in reached:
            if worse < quality and spent < more:
                share = (quality - worse) / (better - worse)
                least = min(least, spent + share * (more - spent))
    return least


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference of accuracies and its 95% interval."""

    mean: float
    low: float
    high: float


def difference(one: Array, other: Array, rng: np.random.Generator) -> Difference:
    """Return the mean of one - other over prompts, with a bootstrap interval by prompt."""
    gaps = one - other
    picks = rng.integers(0, len(gaps), (RESAMPLES, len(gaps)))
    low, high = np.quantile(gaps[picks].mean(axis=1), [0.025, 0.975])
    return Difference(float(gaps.mean()), float(low), float(high))


def uniform_points(table: Table, families: Mapping[str, Sequence[str]]) -> list[Point]:
    """Return one point a family: the same budget for every prompt.

    Args:
        table: What every plan did.
        families: Plans by family, most wanted first: the first one that serves a prompt is taken,
            and a prompt that none serves gets the family's last resort, its tier's single answer.
    """
    points = []
    for family, plans in families.items():
        chosen = [_first(table, row, plans) for row in range(len(table.prompts))]
        if None not in chosen:
            right, cost = table.choose([plan for plan in chosen if plan is not None])
            points.append(Point(family, right, cost))
    return points


def _first(table: Table, row: int, plans: Sequence[str]) -> str | None:
    served = (p for p in plans if p in table.plans)
    return next((p for p in served if not np.isnan(table.right[row, table.plans.index(p)])), None)


def by_price(
    table: Table, value: Callable[[int, str], tuple[float, float]], prices: Sequence[float]
) -> list[Point]:
    """Return a policy's points: at each price, the plan with the best P - price x cost.

    Args:
        table: What every plan did.
        value: The policy's own (P, cost) of a plan for the prompt in a row; it must not have seen
            the prompt's outcomes, unless it is an oracle.
        prices: lambda, one a point.
    """
    known = [
        [(plan, *value(row, plan)) for i, plan in enumerate(table.plans) if served[i]]
        for row, served in enumerate(~np.isnan(table.right))
    ]
    points = []
    for price in prices:
        chosen = [max(row, key=lambda o: (o[1] - price * o[2], -o[2]))[0] for row in known]
        right, cost = table.choose(chosen)
        points.append(Point(f"lambda {price:.3g}", right, cost))
    return points
