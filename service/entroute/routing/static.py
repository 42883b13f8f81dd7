"""`static`: one tier and one strategy for every request."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.decisions import Decision, Estimate, Load
from entroute.protocols import Run, Strategy
from entroute.routing.plans import first_supported, refuse_quality, usable_tiers


class StaticConfig(BaseModel):
    """The same tier and strategy for every request."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["static"] = "static"
    tier: str | None = Field(default=None, description="Tier name; the cheapest when left out.")
    strategy: str = Field(default="single", description="Strategy name.")

    @property
    def named(self) -> tuple[str, ...]:
        """Strategies it names, which must exist."""
        return (self.strategy,)

    def build(self, strategies: Mapping[str, Strategy]) -> "Static":
        """Return the policy."""
        return Static(self.tier, self.strategy, strategies)


class Static:
    """Decides the same for everyone; falls back to what is up and supported.

    Args:
        tier: Tier name, None for the cheapest.
        strategy: Strategy name.
        strategies: All strategies by name.
    """

    def __init__(self, tier: str | None, strategy: str, strategies: Mapping[str, Strategy]) -> None:
        self._tier = tier
        self._strategy = strategy
        self._strategies = strategies

    def decide(self, run: Run, estimate: Estimate, load: Load) -> Decision:
        """Return the configured plan. See `Policy.decide`."""
        refuse_quality(run)
        up = usable_tiers(run)
        wanted = [tier for tier in up if tier.name == self._tier]
        tier = (wanted or list(up))[0]
        plans = ((tier, self._strategy), (tier, "single"))
        tier, name = first_supported(run, plans, self._strategies)
        reason = "static policy"
        if name != self._strategy:
            reason += f"; '{self._strategy}' cannot serve this request"
        decision = Decision(tier.name, name, reason)
        if self._tier is not None and not wanted:
            return replace(decision, degraded=(f"tier:{self._tier}",))
        return decision
