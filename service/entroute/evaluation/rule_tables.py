"""Tables and figures of replayed rules, for the terminal and for the page."""

from collections.abc import Sequence
from typing import Literal

from entroute.evaluation.cascade_curve import CascadeCurve, on_hull
from entroute.evaluation.quality_report import Curve, CurveFigure, Table
from entroute.evaluation.rule_replay import (
    RuleReplay,
    RuleSummary,
    by_accuracy_level,
    by_model,
    replay_rules,
    summary,
)
from entroute.evaluation.rules import FixedRule, RuleName, rule_named

EVERY = 10
STEP = 5
"""Fixed budgets of a figure: each up to ten, then every fifth."""

SWEEP = (0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99)
"""Levels of a report's curves."""

COLUMNS = (
    "rows",
    "prompts",
    "accuracy",
    "with all",
    "difference",
    "low 95%",
    "samples",
    "there are",
)


def summary_lines(
    result: RuleReplay, pooled: RuleSummary, by: Literal["model", "level"], seed: int
) -> list[tuple[str, RuleSummary]]:
    """Summarise a replay by model or by accuracy level, the pooled line last."""
    masks = by_model(result) if by == "model" else by_accuracy_level(result)
    lines = [(name, summary(result, mask, seed=seed)) for name, mask in masks.items()]
    return [*lines, ("all", pooled)]


def summary_table(title: str, lines: Sequence[tuple[str, RuleSummary]]) -> Table:
    """Return the table of named summaries."""
    rows = [
        (
            name,
            str(found.n),
            str(found.prompts),
            f"{found.accuracy:.4f}",
            f"{found.accuracy_all:.4f}",
            f"{found.difference:+.4f}",
            f"{found.difference_low:+.4f}",
            f"{found.samples_mean:.2f}",
            f"{found.samples_all:.2f}",
        )
        for name, found in lines
    ]
    note = (
        "A row is a prompt under one configuration. The bound of the difference to all samples is "
        "one-sided, by a bootstrap over prompts."
    )
    return Table(title, (title.removeprefix("By "), *COLUMNS), rows, note)


def sweep_figure(
    rule: RuleName, result: RuleReplay, *, seed: int, permutations: int
) -> CurveFigure:
    """Draw a replay beside fixed budgets and beside the levels of both rules that have one."""
    most = int(result.samples_all.max())
    budgets = [size for size in range(1, most + 1) if size <= EVERY or size % STEP == 0]
    rules = [
        *(FixedRule(size) for size in budgets),
        *(rule_named("adaptive", level) for level in SWEEP),
        *(rule_named("reasc", level) for level in SWEEP),
    ]
    found = replay_rules(result.rows, rules, seed=seed, permutations=permutations)
    points = [_point(arm) for arm in found]
    end = len(budgets)
    curves = [
        Curve("fixed number of samples", points[:end]),
        Curve("adaptive (Beta), by level", points[end : end + len(SWEEP)]),
        Curve("reasc, by level", points[end + len(SWEEP) :]),
        Curve(f"{rule} as asked", [_point(result)]),
    ]
    return CurveFigure("Accuracy against samples", "samples a prompt", "accuracy", curves)


def _point(found: RuleReplay) -> tuple[float, float, None, None]:
    return float(found.samples.mean()), float(found.accuracy.mean()), None, None


def area_table(curves: Sequence[CascadeCurve]) -> Table:
    """Return the areas by price."""
    rows = [
        (
            f"1:{curve.ratio:g}",
            f"{curve.apgr:.3f}",
            f"{curve.apgr_low:.3f} to {curve.apgr_high:.3f}",
            f"{curve.apgr_calls:.3f}",
        )
        for curve in curves
    ]
    note = (
        "APGR on total cost: every weak sample is charged. A coin between the models has 0.500. "
        "The last column has weak samples for free, as routers are compared."
    )
    return Table("APGR", ("price", "APGR", "95% interval", "on strong calls"), rows, note)


def curve_table(curve: CascadeCurve) -> Table:
    """Return the rules on the upper hull of one price."""
    rows = [
        (point.name, f"{point.cost:.3f}", f"{point.quality:.4f}", f"{point.escalated:.3f}")
        for point in on_hull(curve.points)
    ]
    note = (
        "Cost in strong samples a prompt. Rules worse than a coin between two others are left out."
    )
    title = f"Rules worth having at 1:{curve.ratio:g}"
    return Table(title, ("votes wanted", "cost", "quality", "escalated"), rows, note)


def curves_figure(curves: Sequence[CascadeCurve]) -> CurveFigure:
    """Draw the upper hull of each price."""
    drawn = []
    for curve in curves:
        points = [(point.cost, point.quality, None, None) for point in on_hull(curve.points)]
        drawn.append(Curve(f"price 1:{curve.ratio:g}", points))
    return CurveFigure(
        "Quality against total cost",
        "cost in strong samples a prompt, weak ones included",
        "share right",
        drawn,
    )
