"""`esc`: early-stopping self-consistency, windows of samples until one is unanimous."""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.strategies.counted import CountedVote
from entroute.strategies.drawing import Draw, Step
from entroute.strategies.parts import StrategyParts


class EscConfig(BaseModel):
    """Majority vote that stops on a unanimous window."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["esc"] = "esc"
    window: int = Field(default=5, ge=2, le=16, description="Samples of a window.")
    samples: int = Field(default=40, ge=3, le=64, description="Samples at most.")

    def build(self, parts: StrategyParts) -> "Esc":
        """Return the strategy."""
        return Esc(WindowRule(self.samples, self.window), parts)


@dataclass(frozen=True, slots=True)
class WindowRule:
    """Draw disjoint windows; a unanimous one wins, whatever the earlier ones said.

    Attributes:
        most: Samples at most.
        window: Samples of a window; one that failed is missing from it.

    Source: ESC (2401.10480), algorithm 1.
    """

    most: int
    window: int

    def step(self, draw: Draw) -> Step:
        """See `StoppingRule.step`."""
        if draw.live:
            return Step()
        latest = {call.id for call in draw.calls[draw.earlier :]}
        answers = [
            vote.answer
            for sample, vote in zip(draw.done, draw.votes, strict=True)
            if sample.call_id in latest
        ]
        if len(answers) == self.window and len(set(answers)) == 1 and answers[0] is not None:
            return Step(stop="settled", answer=answers[0])
        return Step(draw=min(self.window, self.most - len(draw.calls)))


class Esc(CountedVote):
    """Draws a window at a time and stops on the first that agrees with itself.

    Args:
        rule: When to stop.
        parts: Its voter gives each candidate its canonical answer; one without has no vote.

    Source: see `WindowRule`.
    """

    name = "esc"
