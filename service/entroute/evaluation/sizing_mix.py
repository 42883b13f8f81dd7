"""What requests take of each tier: as given by tier, or of a profile's plans."""

from collections.abc import Mapping
from pathlib import Path

from entroute.errors import ConfigurationError
from entroute.evaluation.sizing import Need
from entroute.evaluation.sizing_file import MixSettings
from entroute.profile.linear import plan_features
from entroute.profile.profile import Profile, read_profile


def needs_of(mix: MixSettings, shipped: Path, folder: Path) -> dict[str, Need]:
    """Return what one request takes in the mean, by tier.

    Args:
        mix: As configured.
        shipped: The profile that ships.
        folder: What the profile's path is relative to.

    Raises:
        ConfigurationError: The profile cannot be read, or has no such plan.
    """
    if mix.calls is not None:
        return {
            tier: Need(need.calls, need.calls if need.answers is None else need.answers)
            for tier, need in mix.calls.items()
        }
    path = shipped if mix.profile is None else folder / mix.profile
    return needs_of_plans(read_profile(path), mix.plans or {})


def needs_of_plans(profile: Profile, shares: Mapping[str, float]) -> dict[str, Need]:
    """Return the mean need of requests that are dealt to plans in these shares.

    A plan is charged what calibration saw it spend: every sample, verification and discarded call.

    Raises:
        ConfigurationError: The profile has no such plan.
    """
    whole = sum(shares.values())
    calls: dict[str, float] = {}
    answers: dict[str, float] = {}
    for name, share in shares.items():
        for tier, need in plan_needs(profile, name).items():
            calls[tier] = calls.get(tier, 0.0) + share / whole * need.calls
            answers[tier] = answers.get(tier, 0.0) + share / whole * need.answers
    return {tier: Need(calls[tier], answers[tier]) for tier in calls}


def plan_needs(profile: Profile, name: str) -> dict[str, Need]:
    """Return what a plan takes of each tier, in the order of the profile's tiers.

    Its linear models are taken at the mean difficulty: each tier's share of right single answers.

    Raises:
        ConfigurationError: The profile has no such plan.
    """
    plan = next((plan for plan in profile.plans if plan.name == name), None)
    if plan is None:
        known = ", ".join(plan.name for plan in profile.plans)
        raise ConfigurationError(f"mix.plans: '{name}' is no plan of the profile: {known}")
    right = {one.tier: one.right for one in profile.plans if one.kind == "single"}
    features = [plan_features(right, form) for form in plan.forms]
    found = {}
    for tier in (tier.name for tier in profile.tiers if tier.name in plan.spend):
        spend = plan.spend[tier]
        calls = sum(spend.calls.value(one) for one in features) / len(features)
        answers = sum(spend.answers.value(one) for one in features) / len(features)
        found[tier] = Need(max(0.0, calls), max(0.0, answers))
    return found
