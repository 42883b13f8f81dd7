"""`entropy_switch`: the larger tier writes where the smaller one hesitates (EAD)."""

from collections import deque
from math import fsum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.confidence import token_entropy
from entroute.protocols import Run
from entroute.strategies.parts import StrategyParts
from entroute.strategies.pen import Rule, Wish
from entroute.strategies.switching import Switching
from entroute.types import TokenLogprob
from entroute.uncertainty import bits

_HYSTERESIS = 0.6


class EntropySwitchConfig(BaseModel):
    """Hand an answer to a larger tier in its middle while its entropy is high, and back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["entropy_switch"] = "entropy_switch"
    window: int = Field(default=5, ge=1, le=256, description="Tokens over which it is averaged.")
    threshold: float = Field(
        default=0.8,
        ge=0,
        le=20,
        description="Bits above which the mean entropy hands the answer to a larger tier.",
    )
    low: float | None = Field(
        default=None,
        ge=0,
        le=20,
        description="Bits below which a token counts as calm; 0.6 times `threshold` if left out.",
    )
    minimum_run: int = Field(
        default=10,
        ge=1,
        le=4096,
        description="Tokens that a tier keeps the pen, and calm ones in a row that hand it back.",
    )
    max_hand_overs: int = Field(
        default=24, ge=1, le=256, description="Most of one answer; then the larger tier finishes."
    )

    def build(self, parts: StrategyParts) -> Switching:
        """Return the strategy."""
        return Switching(self.kind, self._rule, self.max_hand_overs)

    def _rule(self, run: Run) -> Rule:
        low = _HYSTERESIS * self.threshold if self.low is None else self.low
        return EntropyRule(self.window, self.threshold, low, self.minimum_run)


class EntropyRule(Rule):
    """Goes up on a high rolling entropy, down after a run of low ones.

    Args:
        window: Tokens over which entropy is averaged.
        threshold: Bits above which a larger tier should write.
        low: Bits below which a token is calm.
        minimum_run: Tokens that a tier keeps the pen, and calm tokens that hand it back.

    Source: Entropy Adaptive Decoding (2502.06833), rolling mean over w = 5 tokens, in bits; the
    second threshold keeps the pen from going to and fro.
    """

    def __init__(self, window: int, threshold: float, low: float, minimum_run: int) -> None:
        self._seen: deque[float] = deque(maxlen=window)
        self._threshold = threshold
        self._low = low
        self._minimum_run = minimum_run
        self._tokens = 0
        self._calm = 0

    def opens_up(self) -> bool:
        """Begin on the decided tier: nothing was seen yet."""
        return False

    def begin(self, *, raised: bool) -> None:
        """Forget what another model's tokens said."""
        self._seen.clear()
        self._tokens = self._calm = 0

    def see(self, token: TokenLogprob) -> Wish | None:
        """Take the next token. See `Rule.see`."""
        self._seen.append(bits(token_entropy(token)))
        mean = fsum(self._seen) / len(self._seen)
        self._tokens += 1
        self._calm = self._calm + 1 if mean < self._low else 0
        if self._tokens < self._minimum_run:
            return None
        confidence = 2.0**-mean
        if mean > self._threshold:
            return Wish(up=True, reason="unsure", confidence=confidence)
        if self._calm >= self._minimum_run:
            return Wish(up=False, reason="calm", confidence=confidence)
        return None
