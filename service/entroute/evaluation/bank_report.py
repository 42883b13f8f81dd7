"""The report of a bank's replay: what an operator and a sceptic look at."""

from collections.abc import Mapping, Sequence
from typing import Any

from entroute.evaluation.arms import Point
from entroute.evaluation.bank_arms import ORACLE, PER_TASK, POLICY, QUERY, UNIFORM, Arms, corrected
from entroute.evaluation.calibrating import measures_of
from entroute.evaluation.crossfit import CrossFit
from entroute.evaluation.quality_report import Curve, CurveFigure, Report, Table
from entroute.evaluation.studying import Manner, Study

_DRAWN = (UNIFORM, PER_TASK, QUERY, POLICY, ORACLE)
_COST = "mean cost, in mean answers of the largest tier"


def bank_report(
    study: Study, manner: Manner, fitted: CrossFit, arms: Sequence[Arms], command: str
) -> Report:
    """Return the report.

    Args:
        study: The bank under study.
        manner: How it was studied.
        fitted: What plans promise and did, at the measured costs.
        arms: One for each cost ratio, the measured one first.
        command: What made it.
    """
    evidence = study.evidence
    return Report(
        title="What plans are worth on a bank",
        command=command,
        facts={
            "models": ", ".join(f"{tier}: {model}" for tier, model in evidence.models.items()),
            "engine": evidence.header.engine,
            "temperature": f"{evidence.header.temperature:g}",
            "prompts": str(len(evidence.prompts)),
            "samples": str(len(evidence.samples)),
            "permutations": str(manner.repeats),
            "seed": str(manner.seed),
            "one unit of cost": f"{study.scale.unit_s:.3g} worker seconds",
        },
        figures=[_figure(found) for found in arms],
        tables=[
            *(_compared(found, p) for found, p in zip(arms, corrected(arms), strict=True)),
            _plans(fitted),
            _measures(measures_of(study, fitted, manner.seed)),
            _gates(study),
        ],
    )


def arms_json(arms: Sequence[Arms]) -> list[dict[str, Any]]:
    """Return comparisons and curves as JSON values."""
    return [
        {
            "ratio": found.ratio,
            "prompts": found.prompts,
            "compared": [
                {
                    "baseline": one.baseline,
                    "cost": one.cost,
                    "quality": one.quality,
                    "baseline_quality": one.base,
                    "gain": one.gain.mean,
                    "gain_low": one.gain.low,
                    "gain_high": one.gain.high,
                    "p": one.p,
                    "p_holm": p,
                    "k": one.k,
                }
                for one, p in zip(found.compared, p_values, strict=True)
            ],
            "curves": {
                label: [{"cost": p.spent, "quality": p.quality, "at": p.label} for p in points]
                for label, points in found.curves.items()
            },
        }
        for found, p_values in zip(arms, corrected(arms), strict=True)
    ]


def _figure(found: Arms) -> CurveFigure:
    return CurveFigure(
        title=f"Accuracy against cost, {_ratio(found)}",
        cost=_COST,
        quality="share of right answers",
        curves=[Curve(label, _front(found.curves[label])) for label in _DRAWN],
        note="Each curve is the best that an arm reaches at a cost or below, with hindsight. The "
        "oracle knows the outcomes of every single prompt.",
    )


def _front(points: Sequence[Point]) -> list[tuple[float, float, float | None, float | None]]:
    """Return the points that no cheaper one beats."""
    front: list[tuple[float, float, float | None, float | None]] = []
    best = float("-inf")
    for point in sorted(points, key=lambda p: (p.spent, -p.quality)):
        if point.quality > best:
            front.append((point.spent, point.quality, None, None))
            best = point.quality
    return front


def _compared(found: Arms, p_values: Sequence[float | None]) -> Table:
    return Table(
        title=f"compute_optimal against each arm at equal cost, {_ratio(found)}",
        columns=("against", "cost", "accuracy", "its", "gain", "95% interval", "p", "p Holm", "k"),
        rows=[
            (
                one.baseline,
                f"{one.cost:g}",
                f"{one.quality:.3f}",
                f"{one.base:.3f}",
                f"{one.gain.mean:+.3f}",
                f"{one.gain.low:+.3f} to {one.gain.high:+.3f}",
                f"{one.p:.3f}",
                "" if p is None else f"{p:.3f}",
                "beyond it" if one.k is None else f"{one.k:.2f}",
            )
            for one, p in zip(found.compared, p_values, strict=True)
        ],
        note="Paired by prompt, predicted by fits that have not seen it. compute_optimal mixes the "
        "two lambdas next to the cost; the other arms may choose with hindsight. p Holm: corrected "
        "for all comparisons of this report but the first, which is the primary one, and the "
        "oracle's. k: what the other arm has to spend for the same accuracy, over what "
        "compute_optimal spends.",
    )


def _plans(fitted: CrossFit) -> Table:
    rows = []
    for j, plan in enumerate(fitted.table.plans):
        right, cost = fitted.table.right[:, j], fitted.table.cost[:, j]
        served = right == right  # noqa: PLR0124 - NaN where a plan does not serve a prompt
        rows.append(
            (
                plan,
                str(int(served.sum())),
                f"{right[served].mean():.3f}",
                f"{fitted.p[served, j].mean():.3f}",
                f"{cost[served].mean():.2f}",
                f"{fitted.cost[served, j].mean():.2f}",
            )
        )
    columns = ("plan", "prompts", "right", "predicted", "cost", "predicted")
    return Table(title="Plans", columns=columns, rows=rows)


def _measures(measures: Mapping[str, float]) -> Table:
    return Table(
        title="Predictions on prompts that no fit has seen",
        columns=("measure", "value"),
        rows=[(name, f"{value:.3f}") for name, value in measures.items()],
        note="Brier skill: 0 is the mean for everyone. Slope: 1 is calibrated, below it is too "
        "sure. ece: beyond what chance alone would show on as many prompts.",
    )


def _gates(study: Study) -> Table:
    rows = [
        (
            f"{fit.tier} {fit.form} ({fit.strategy})",
            "never" if fit.threshold is None else f"{fit.threshold:.3f}",
            f"{fit.accepted} of {fit.prompts}",
            str(fit.wrong),
            f"{fit.alpha:g}",
        )
        for fit in study.gates[-1].fits
    ]
    columns = ("gate", "accepts from", "accepted", "wrong", "alpha")
    return Table(title="Gates under risk control", columns=columns, rows=rows)


def _ratio(found: Arms) -> str:
    return "as measured" if found.ratio is None else f"at a cost ratio of {found.ratio:g}"
