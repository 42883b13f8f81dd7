"""Steps 2 and 3 as configured: the estimator, the policy, and the profile both read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from pydantic import ValidationError

from entroute.errors import ConfigurationError
from entroute.profile.plans import Need
from entroute.profile.profile import Profile, read_profile
from entroute.protocols import Clock, Estimator, Policy, Run, Strategy
from entroute.routing import ComputeOptimalConfig, ThresholdConfig
from entroute.routing.compute_optimal import ComputeOptimal, Corrections, PolicyParts
from entroute.settings import Settings
from entroute.strategies import build_strategy
from entroute.strategies.examples import examples_in
from entroute.strategies.parts import StrategyParts
from entroute.strategies.programs import last_prompt
from entroute.strategies.verify_then_escalate import TESTS

SHIPPED = "qwen2.5-coder-pair.json.gz"
"""The profile of the two embedded models, made by the commands in its card beside it."""


@dataclass(frozen=True, slots=True)
class Deciding:
    """What decides.

    Attributes:
        estimator: Step 2.
        policy: Step 3.
        plans: Each plan's own strategy, by the plan's name; empty without a profile.
    """

    estimator: Estimator
    policy: Policy
    plans: Mapping[str, Strategy]


def shipped_profile() -> Path:
    """Return the file of the profile that comes with entroute."""
    return Path(str(resources.files("entroute.profile") / "data" / SHIPPED))


@cache
def _shipped() -> Profile:
    return read_profile(shipped_profile())


def profile_of(settings: Settings) -> Profile | None:
    """Return the configured profile, or the shipped one if it fits the tiers, else None.

    Raises:
        ConfigurationError: The file is no profile, or one of other models; or the policy needs a
            profile and there is none for these tiers.
    """
    models = {tier.name: tier.model for tier in settings.tiers}
    if settings.profile is not None:
        profile = read_profile(settings.profile)
        profile.check_models(models)
        return profile
    try:
        _shipped().check_models(models)
    except ConfigurationError as error:
        if isinstance(settings.policy, ComputeOptimalConfig):
            raise ConfigurationError(
                "policy: compute_optimal needs a profile of these tiers: `profile: FILE`. "
                f"The one that comes with entroute is of others; {error}"
            ) from error
        return None
    return _shipped()


def plan_strategies(profile: Profile, parts: StrategyParts) -> dict[str, Strategy]:
    """Return each plan's own strategy; plans that run programs refuse without a sandbox.

    Raises:
        ConfigurationError: A plan's strategy is none of this version.
    """
    strategies = {}
    for plan in (*profile.plans, profile.free_form):
        try:
            strategies[plan.name] = build_strategy(plan.strategy, parts)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise ConfigurationError(f"profile: plan '{plan.name}': {first['msg']}") from error
    return strategies


def has_examples(run: Run) -> bool:
    """Whether a prompt shows examples to run code by, or the request brings tests."""
    if run.verifier is not None:
        return run.verifier.name == TESTS
    return bool(examples_in(last_prompt(run.request)).examples)


MEETS: Mapping[Need, Callable[[Run], bool]] = {"examples": has_examples}


def deciding(  # noqa: PLR0913, PLR0917 - a composition root composes
    settings: Settings,
    profile: Profile | None,
    strategies: Mapping[str, Strategy],
    parts: StrategyParts,
    corrections: Corrections,
    clock: Clock,
) -> Deciding:
    """Build what decides.

    Args:
        settings: The configuration.
        profile: Of `profile_of`.
        strategies: All strategies by name.
        parts: What plans' own strategies are built with.
        corrections: What labels of traffic say.
        clock: Monotonic seconds.

    Raises:
        ConfigurationError: As `plan_strategies`.
    """
    estimator = settings.difficulty.build(None if profile is None else profile.text)
    policy = settings.policy
    if not isinstance(policy, ComputeOptimalConfig):
        return Deciding(estimator, policy.build(strategies), {})
    if profile is None:
        raise RuntimeError("a policy that needs a profile was given none")
    plans = plan_strategies(profile, parts)
    built = ComputeOptimal(
        policy,
        PolicyParts(profile, plans, MEETS, ThresholdConfig().build(strategies), corrections, clock),
    )
    return Deciding(estimator, built, plans)
