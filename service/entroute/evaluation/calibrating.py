"""Calibration: from a bank under study to a profile.

Every number that is reported was predicted by fits that had not seen the prompt; the profile
itself is then fitted on all of them.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from entroute.evaluation.arms import Point, by_price
from entroute.evaluation.crossfit import CrossFit
from entroute.evaluation.gathering import Evidence
from entroute.evaluation.plan_fit import fit_plans
from entroute.evaluation.reliability import calibration_of
from entroute.evaluation.studying import Manner, Study
from entroute.profile.plans import Way
from entroute.profile.profile import Made, Profile, TierProfile

PRICES = tuple(float(price) for price in np.geomspace(0.002, 4.0, 60))
"""lambdas that a policy's curve is drawn at."""

EPSILON = 0.01
"""Accuracy that an operator who names no cost gives up, at most, against the best fixed plan."""


def trade_off(points: Sequence[Point], fixed: Sequence[Point], target: float | None) -> Point:
    """Return the point of a policy's curve that an operator is given.

    Args:
        points: The policy's curve, one point a lambda, rising.
        fixed: The same plan for everyone.
        target: Mean cost that the operator names, or None.
    """
    if target is not None:
        return min(points, key=lambda point: abs(point.spent - target))
    wanted = max(point.quality for point in fixed) - EPSILON
    good = [point for point in points if point.quality >= wanted]
    return min(good, key=lambda p: p.spent) if good else max(points, key=lambda p: p.quality)


def profile_of(study: Study, manner: Manner, fitted: CrossFit, fixed: Sequence[Point]) -> Profile:
    """Fit every plan on every prompt, and choose the operating point on the cross-fitted ones.

    Args:
        study: The bank under study.
        manner: How to calibrate.
        fitted: Of `crossfitted`.
        fixed: The same plan for everyone, by plan family.
    """
    evidence = study.evidence
    curve = by_price(fitted.table, fitted.value, PRICES)
    point = trade_off(curve, fixed, manner.target_cost)
    specs = study.specs(-1, manner.votes_above)
    plans = fit_plans(specs, study.rows, study.asked, study.scale)
    first, last = next(iter(evidence.models)), list(evidence.models)[-1]
    cascade = {"kind": "cascade"} if first != last else {"kind": "single"}
    return Profile(
        made=_made(study, manner),
        tiers=tuple(
            TierProfile(name=tier, model=model, runtime=study.scale.runtimes[tier])
            for tier, model in evidence.models.items()
        ),
        text=study.text,
        characters_per_token=_characters_per_token(evidence),
        unit_s=study.scale.unit_s,
        answer_s=study.scale.answer_s,
        answer_tokens=study.scale.answer_tokens,
        plans=tuple(plans.values()),
        gates=study.gates[-1].fits,
        trade_off=next(price for price, at in zip(PRICES, curve, strict=True) if at is point),
        target_cost=point.spent,
        static_plan=f"{last} x1",
        free_form=Way(name="free form", tier=first, strategy=cascade),
        measures=measures_of(study, fitted, manner.seed),
    )


def measures_of(study: Study, fitted: CrossFit, seed: int) -> dict[str, float]:
    """Return how well difficulty and plans are predicted on prompts that no fit has seen."""
    measures: dict[str, float] = {}
    for tier, predicted in study.p_right.items():
        found = calibration_of(np.array(predicted), np.array(study.evidence.right[tier]), seed)
        measures |= {f"{tier} {name}": round(value, 4) for name, value in found.items()}
    served = ~np.isnan(fitted.table.right)
    found = calibration_of(
        fitted.p[served], fitted.table.right[served], seed, np.nonzero(served)[0].tolist()
    )
    return measures | {f"plans {name}": round(value, 4) for name, value in found.items()}


def _made(study: Study, manner: Manner) -> Made:
    evidence = study.evidence
    return Made(
        at=datetime.now(tz=UTC).date().isoformat(),
        command=manner.command,
        banks=evidence.digests,
        prompts=len(evidence.prompts),
        samples=len(evidence.samples),
        engine=evidence.header.engine,
        temperature=evidence.header.temperature,
        seed=manner.seed,
    )


def _characters_per_token(evidence: Evidence) -> float:
    questions = evidence.questions
    return sum(map(len, questions.texts)) / sum(questions.prompt_tokens)
