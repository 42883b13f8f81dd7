"""`random_switch`: the control of `entropy_switch`, which changes hands by chance."""

from math import log, log1p
from random import Random
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.protocols import Run
from entroute.strategies.parts import StrategyParts
from entroute.strategies.pen import Rule, Wish
from entroute.strategies.switching import Switching
from entroute.types import TokenLogprob

Stretches = Literal["geometric", "fixed"]


class RandomSwitchConfig(BaseModel):
    """Hand an answer between tiers by chance, to measure what looking at entropy is worth."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["random_switch"] = "random_switch"
    share: float = Field(
        default=0.25, ge=0, le=1, description="Expected share of tokens that a larger tier writes."
    )
    run: int = Field(default=32, ge=1, le=4096, description="Mean tokens of a stretch.")
    stretches: Stretches = Field(
        default="geometric", description="How a stretch's length is drawn: geometric or fixed."
    )
    max_hand_overs: int = Field(
        default=24, ge=1, le=256, description="Most of one answer; then the larger tier finishes."
    )

    def build(self, parts: StrategyParts) -> Switching:
        """Return the strategy."""
        return Switching(self.kind, self._rule, self.max_hand_overs)

    def _rule(self, run: Run) -> Rule:
        return ChanceRule(self.share, self.run, self.stretches, run.rng)


class ChanceRule(Rule):
    """Draws for every stretch of tokens who should write it.

    Stretches are drawn independently, so `share` of the tokens is the larger tier's on average;
    neighbours with the same writer make one longer segment.

    Args:
        share: Probability in [0, 1] that a larger tier writes a stretch.
        run: Mean tokens of a stretch.
        stretches: Whether lengths are geometric or fixed.
        rng: Source of every draw.
    """

    by_chance = True

    def __init__(self, share: float, run: int, stretches: Stretches, rng: Random) -> None:
        self._share = share
        self._run = run
        self._stretches = stretches
        self._rng = rng
        self._left = 0
        self._wanted = self._draw()
        self._raised = False

    def opens_up(self) -> bool:
        """Return whether the first stretch is a larger tier's."""
        return self._wanted

    def begin(self, *, raised: bool) -> None:
        """Note who writes; the stretch that was drawn goes on."""
        self._raised = raised

    def see(self, token: TokenLogprob) -> Wish | None:
        """Take the next token. See `Rule.see`."""
        self._left -= 1
        if self._left <= 0:
            self._wanted = self._draw()
        if self._wanted == self._raised:
            return None
        return Wish(up=self._wanted, reason="chance")

    def _draw(self) -> bool:
        """Draw a stretch's length, at least 1, and who should write it."""
        self._left = self._run
        if self._stretches == "geometric" and self._run > 1:
            uniform = 1.0 - self._rng.random()  # in (0, 1]
            self._left = 1 + int(log(uniform) / log1p(-1 / self._run))
        return self._rng.random() < self._share
