"""`chain`: ask cheap estimators first and dearer ones only while the answer is unclear."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.decisions import Estimate
from entroute.difficulty.learned import LearnedConfig
from entroute.difficulty.lexical import LexicalConfig
from entroute.difficulty.probe import ProbeConfig
from entroute.profile.text_model import TextModel
from entroute.protocols import Estimator, Run

Link = Annotated[LexicalConfig | ProbeConfig | LearnedConfig, Field(discriminator="kind")]


class ChainConfig(BaseModel):
    """Learned first, then lexical; the probe where that leaves it open."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["chain"] = "chain"
    easy_below: float = Field(
        default=0.1, ge=0, le=1, description="An estimate below this ends the chain."
    )
    hard_above: float = Field(
        default=0.95, ge=0, le=1, description="An estimate above this ends the chain."
    )
    estimators: tuple[Link, ...] = Field(
        default=(LearnedConfig(), LexicalConfig(), ProbeConfig()),
        min_length=1,
        description="Estimators in the order they are asked; a calibrated estimate ends the chain.",
    )

    def build(self, model: TextModel | None = None) -> "Chain":
        """Return the estimator.

        Args:
            model: The profile's, for `learned`; without one that abstains.
        """
        links = [config.build(model) for config in self.estimators]
        return Chain(links, self.easy_below, self.hard_above)


class Chain:
    """Returns the first clear estimate, else the last one that did not abstain.

    Args:
        links: Estimators, cheapest first.
        easy_below: Difficulty under which an estimate is clear.
        hard_above: Difficulty over which it is.
    """

    name = "chain"

    def __init__(self, links: Sequence[Estimator], easy_below: float, hard_above: float) -> None:
        self._links = links
        self._easy_below = easy_below
        self._hard_above = hard_above

    async def estimate(self, run: Run) -> Estimate:
        """Ask one after the other. See `Estimator.estimate`."""
        best: Estimate | None = None
        checkable: str | None = None
        for link in self._links:
            estimate = await link.estimate(run)
            checkable = checkable or estimate.checkable
            if best is None or not estimate.abstained:
                best = estimate
            if self._clear(estimate):
                break
        if best is None:
            raise RuntimeError("a chain has at least one link")
        return replace(best, checkable=checkable)

    def _clear(self, estimate: Estimate) -> bool:
        difficulty = estimate.difficulty
        if difficulty is None:
            return False
        if estimate.p_right:
            return True  # calibrated: whoever acts on it weighs its doubt, too
        return difficulty < self._easy_below or difficulty > self._hard_above
