"""The plans that calibration tries on two tiers or more, each with thresholds of its own.

Kept to what pays somewhere: every plan costs a replay, and a policy that chooses among many that
are alike chooses by noise.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from entroute.evaluation.episodes import PlanSpec
from entroute.profile.points import Points
from entroute.strategies.reasc import SignalProfile

ANSWERS = ("number", "choice", "boxed")
"""Answer forms that votes can compare."""

CODE = ("code",)
_ALL = (*ANSWERS, *CODE)


def plan_menu(
    tiers: Sequence[str],
    gates: Mapping[tuple[str, str], Points],
    signals: Sequence[SignalProfile],
    *,
    votes_above: int,
) -> tuple[PlanSpec, ...]:
    """Return the plans.

    Args:
        tiers: Names, cheapest first.
        gates: Calibration of the cascade's gate by (tier, answer form).
        signals: What is known of each model's confidence over whole answers, for reasc.
        votes_above: Votes at most on tiers above the cheapest.
    """
    profiles = [signal.model_dump() for signal in signals]
    plans = [_single(tier) for tier in tiers]
    for tier, larger in pairwise(tiers):
        plans += _gated(tier, larger, gates)
    for larger in tiers[1:2]:
        plans += [_voting(tiers[0], larger, n, profiles) for n in (4, 8)]
        plans.append(_program(tiers[0], larger))
    for tier in tiers[1:]:
        strategy = {"kind": "reasc", "samples": votes_above, "profiles": profiles}
        name = f"{tier} votes <={votes_above}"
        draws = {tier: votes_above}
        plans.append(PlanSpec(name, name, tier, strategy, ANSWERS, votes_above, draws))
    plans += _coded(tiers)
    return tuple(plans)


def _single(tier: str) -> PlanSpec:
    return PlanSpec(f"{tier} x1", f"{tier} x1", tier, {"kind": "single"}, _ALL, 1, {tier: 1})


def _voting(tier: str, larger: str, most: int, profiles: Sequence[Any]) -> PlanSpec:
    """Return votes on a tier that give up where the first samples all differ."""
    name = f"{tier} votes <={most} -> {larger}"
    strategy = {"kind": "reasc", "samples": most, "profiles": profiles}
    return PlanSpec(name, name, tier, strategy, ANSWERS, most + 1, {tier: most, larger: 1})


def _program(tier: str, larger: str) -> PlanSpec:
    """Return a short program whose output is the answer, then words, then the larger tier."""
    name = f"{tier} program -> {larger}"
    draws = {tier: 1, larger: 1}
    strategy = {"kind": "program_first"}
    return PlanSpec(name, name, tier, strategy, ("number",), 3, draws, programs=1)


def _gated(tier: str, larger: str, gates: Mapping[tuple[str, str], Points]) -> Iterator[PlanSpec]:
    """Yield a cascade for each answer form: what a model's confidence is worth depends on it."""
    for form in _ALL:
        points = gates.get((tier, form))
        if points is None:
            continue
        strategy: dict[str, Any] = {"kind": "cascade", "threshold": 0.5, "calibration": points}
        family = f"{tier} gate -> {larger}"
        draws = {tier: 1, larger: 1}
        yield PlanSpec(f"{family} {form}", family, tier, strategy, (form,), 2, draws)


def _coded(tiers: Sequence[str]) -> Iterator[PlanSpec]:
    """Yield plans that run code on the examples of its prompt."""
    for place, tier in enumerate(tiers):
        above = tiers[place + 1 : place + 2]
        for samples in (1, 2):
            if samples == 1 and not above:
                continue  # a single sample that nothing follows need not be checked
            strategy = {"kind": "verify_then_escalate", "samples": samples}
            name = " -> ".join([f"{tier} checked <={samples}", *above])
            draws = dict.fromkeys(tiers[place:], samples)
            calls = sum(draws.values())
            yield PlanSpec(name, name, tier, strategy, CODE, calls, draws, needs=("examples",))
    name = f"{tiers[0]} clusters 8"
    cluster = {"kind": "code_cluster", "samples": 8}
    yield PlanSpec(name, name, tiers[0], cluster, CODE, 8, {tiers[0]: 8}, needs=("examples",))
