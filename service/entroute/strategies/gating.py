"""What a gate makes of a held-back window: a confidence, calibrated or not, and a threshold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from entroute.confidence import confidence
from entroute.profile.points import Points, interpolated
from entroute.types import TokenLogprob


@dataclass(frozen=True, slots=True)
class Gate:
    """Decides whether a window may be released.

    Attributes:
        smoothing: Tokens over which entropy is averaged.
        threshold: Least value to release, in [0, 1].
        thresholds: The same for single tiers, by name.
        calibration: Turns confidence into P(right); the value is the confidence itself if empty.
    """

    smoothing: int
    threshold: float
    thresholds: Mapping[str, float] = field(default_factory=dict)
    calibration: Points = ()

    def value(self, tokens: Sequence[TokenLogprob]) -> float | None:
        """Return how sure a window was, in [0, 1], or None where it has no tokens."""
        raw = confidence(tokens, self.smoothing)
        return raw if raw is None or not self.calibration else interpolated(self.calibration, raw)

    def releases(self, tier: str, value: float) -> bool:
        """Whether that is enough for an answer of `tier`."""
        return value >= self.thresholds.get(tier, self.threshold)
