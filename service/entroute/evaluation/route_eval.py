"""Routes between two models by text alone, and scores it by RouteLLM's metric.

A prompt that occurs in the files of the fit is predicted by a fit that has not seen it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from entroute.errors import ConfigurationError
from entroute.evaluation.outcomes import Outcome, read_outcomes
from entroute.evaluation.router_metrics import apgr, best_curve, cpt, curve, hull
from entroute.evaluation.text_fit import Labelled, fit_text_model
from entroute.profile.features import Features, extract

Numbers = NDArray[np.float64]

TIERS = ("weak", "strong")
RESAMPLES = 1_000
_INTERVAL = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Interval:
    """A measure with its 95% bootstrap interval over prompts.

    Attributes:
        value: On all prompts.
        low: 2.5th percentile.
        high: 97.5th percentile.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Group:
    """Means of one class of prompts.

    Attributes:
        name: The task.
        n: Prompts.
        weak: Mean score of the weak model, in the file's unit.
        strong: Mean score of the strong model.
        routed: Mean score when the strong model answers half of all prompts.
        strong_share: Share of this class that it then answers.
        apgr: Within this class; NaN where weak and strong are equally good.
    """

    name: str
    n: int
    weak: float
    strong: float
    routed: float
    strong_share: float
    apgr: float


@dataclass(frozen=True, slots=True)
class RouteReport:
    """How well text routes between two models.

    Attributes:
        n: Prompts.
        weak: Mean score of the weak model, in the file's unit.
        strong: Mean score of the strong model.
        router: APGR of the learned router.
        length: APGR of routing by the prompt's length.
        difference: Router minus length, paired over prompts.
        oracle: APGR of the best possible order.
        cpt50: Least strong share that recovers half the gap, in [0, 1], None without a gap.
        cpt80: The same for 80%.
        groups: By task, in the order of their names; the whole when there is one task.
        hull: Concave hull of (cost, mean score); unit of cost: mean cost of the strong model's
            answer where the file gives costs, else the strong model's share of prompts.
        cross_fitted: Whether prompts of the fit were among those judged.
    """

    n: int
    weak: float
    strong: float
    router: Interval
    length: Interval
    difference: Interval
    oracle: float
    cpt50: float | None
    cpt80: float | None
    groups: tuple[Group, ...]
    hull: tuple[tuple[float, float], ...]
    cross_fitted: bool


@dataclass(frozen=True, slots=True)
class _Routed:
    """Prompts in one order: what the router says and what either model does.

    Attributes:
        rows: The prompts.
        scores: Predicted gain.
        weak: Score of the weak model.
        strong: Score of the strong model.
        weak_cost: Cost of its answer; unit: the strong model's mean, or its share of prompts.
        strong_cost: The same of the strong model's.
    """

    rows: Sequence[Outcome]
    scores: Numbers
    weak: Numbers
    strong: Numbers
    weak_cost: Numbers
    strong_cost: Numbers


def evaluate(  # noqa: PLR0913 - what the command line gives
    fit: Sequence[Path],
    on: Path,
    weak: str,
    strong: str,
    *,
    seed: int = 0,
    folds: int = 5,
) -> RouteReport:
    """Fit a router on files and judge it on another, or on the same by cross-fitting.

    Args:
        fit: Files of outcomes to learn from.
        on: File to judge on.
        weak: Name of the cheap model in `score`.
        strong: Name of the dear one.
        seed: Of folds and resamples.
        folds: Parts that prompts fall into when some were seen by the fit.

    Raises:
        ConfigurationError: A file is malformed, lacks a model, or is too small to learn from.
    """
    judged = read_outcomes(on, (weak, strong))
    known: dict[str, Features] = {}
    labelled = _labelled(fit, weak, strong, known)
    crossed = any(row.key in labelled for row in judged)
    parts = _parts(judged, folds if crossed else 1, seed)
    gains = np.zeros(len(judged))
    for part in sorted(set(parts.values())):
        seen = [row for key, row in labelled.items() if not crossed or parts.get(key) != part]
        model = fit_text_model(seen, TIERS, seed=seed)
        for place, row in enumerate(judged):
            if parts[row.key] == part:
                p_right = model.predict_features(_features(row, known)).p_right
                gains[place] = p_right["strong"] - p_right["weak"]
    return _report(_routed(judged, gains, weak, strong), seed, cross_fitted=crossed)


def _labelled(
    paths: Sequence[Path], weak: str, strong: str, known: dict[str, Features]
) -> dict[str, Labelled]:
    """Return labels in [0, 1] by prompt; scores outside are scaled file by file."""
    if weak == strong:
        raise ConfigurationError("--weak and --strong name the same model: give two")
    labels: dict[str, Labelled] = {}
    for path in paths:
        rows = read_outcomes(path, (weak, strong))
        values = [row.score[model] for row in rows for model in (weak, strong)]
        low, high = min(values), max(values)
        if low >= 0 and high <= 1:
            low, high = 0.0, 1.0
        for row in rows:
            if row.key not in labels:
                scaled = [(row.score[model] - low) / (high - low) for model in (weak, strong)]
                labels[row.key] = Labelled(
                    _features(row, known), dict(zip(TIERS, scaled, strict=True)), task=row.task
                )
    return labels


def _parts(rows: Sequence[Outcome], parts: int, seed: int) -> dict[str, int]:
    """Return each prompt's part: prompts of one text share theirs."""
    keys = list(dict.fromkeys(row.key for row in rows))
    if len(keys) < parts:
        raise ConfigurationError(f"--folds: {parts} folds take as many prompts, not {len(keys)}")
    order = np.random.default_rng(seed).permutation(len(keys))
    return {keys[place]: rank % parts for rank, place in enumerate(order)}


def _features(row: Outcome, known: dict[str, Features]) -> Features:
    if row.key not in known:
        known[row.key] = extract(row.question)
    return known[row.key]


def _routed(rows: Sequence[Outcome], gains: Numbers, weak: str, strong: str) -> _Routed:
    cheap, dear = np.zeros(len(rows)), np.ones(len(rows))
    if all(weak in row.cost and strong in row.cost for row in rows):
        cheap = np.array([row.cost[weak] for row in rows])
        dear = np.array([row.cost[strong] for row in rows])
        unit = dear.mean() or 1.0
        cheap, dear = cheap / unit, dear / unit
    return _Routed(
        rows=rows,
        scores=gains,
        weak=np.array([row.score[weak] for row in rows]),
        strong=np.array([row.score[strong] for row in rows]),
        weak_cost=cheap,
        strong_cost=dear,
    )


def _report(routed: _Routed, seed: int, *, cross_fitted: bool) -> RouteReport:
    found = curve(routed.scores, routed.weak, routed.strong)
    router, length, difference = _intervals(routed, seed)
    paid = curve(routed.scores, routed.weak_cost, routed.strong_cost)
    points = zip(paid.qualities.tolist(), found.qualities.tolist(), strict=True)
    return RouteReport(
        n=len(routed.rows),
        weak=float(routed.weak.mean()),
        strong=float(routed.strong.mean()),
        router=router,
        length=length,
        difference=difference,
        oracle=apgr(best_curve(routed.weak, routed.strong)),
        cpt50=cpt(found, 0.5),
        cpt80=cpt(found, 0.8),
        groups=_groups(routed),
        hull=hull(list(points)),
        cross_fitted=cross_fitted,
    )


def _intervals(routed: _Routed, seed: int) -> tuple[Interval, Interval, Interval]:
    """Return router, length and their paired difference, resampled by prompt."""
    lengths = np.array([float(len(row.question)) for row in routed.rows])

    def both(chosen: NDArray[np.int64]) -> tuple[float, float]:
        w, s = routed.weak[chosen], routed.strong[chosen]
        return apgr(curve(routed.scores[chosen], w, s)), apgr(curve(lengths[chosen], w, s))

    random = np.random.default_rng(seed)
    n = len(lengths)
    drawn = np.array([both(random.integers(n, size=n)) for _ in range(RESAMPLES)])
    router, length = both(np.arange(n))

    def interval(value: float, resampled: Numbers) -> Interval:
        finite = resampled[np.isfinite(resampled)]
        low, high = np.percentile(finite, _INTERVAL) if len(finite) else (np.nan, np.nan)
        return Interval(value, float(low), float(high))

    return (
        interval(router, drawn[:, 0]),
        interval(length, drawn[:, 1]),
        interval(router - length, drawn[:, 0] - drawn[:, 1]),
    )


def _groups(routed: _Routed) -> tuple[Group, ...]:
    rows, scores = routed.rows, routed.scores
    tasks = [row.task for row in rows]
    names = tasks if len(set(tasks)) > 1 else [row.group for row in rows]
    up = scores >= np.median(scores)
    groups = []
    for name in sorted(set(names)):
        at = np.array([other == name for other in names])
        w, s = routed.weak[at], routed.strong[at]
        groups.append(
            Group(
                name=name,
                n=int(at.sum()),
                weak=float(w.mean()),
                strong=float(s.mean()),
                routed=float(np.where(up[at], s, w).mean()),
                strong_share=float(up[at].mean()),
                apgr=apgr(curve(scores[at], w, s)),
            )
        )
    return tuple(groups)


def as_row(report: RouteReport) -> dict[str, float | int | None]:
    """Return the report's figures as one JSON object; what is undefined is None."""
    figures = {
        "apgr": report.router.value,
        "apgr_low": report.router.low,
        "apgr_high": report.router.high,
        "cpt50": report.cpt50,
        "cpt80": report.cpt80,
        "length_apgr": report.length.value,
        "oracle_apgr": report.oracle,
    }
    finite = {k: v if v is not None and np.isfinite(v) else None for k, v in figures.items()}
    return {**finite, "n": report.n}


def mean_within(report: RouteReport) -> float:
    """Return APGR within tasks, weighted by gap: recognising the task counts nothing in it."""
    apart = [group for group in report.groups if np.isfinite(group.apgr)]
    gaps = [group.n * (group.strong - group.weak) for group in apart]
    recovered = sum(gap * group.apgr for gap, group in zip(gaps, apart, strict=True))
    return recovered / sum(gaps) if sum(gaps) else float("nan")
