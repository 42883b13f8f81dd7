"""Under load requests get fewer samples before any of them is refused."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from entroute.decisions import Load
from entroute.priorities import Priority

LOAD = "load"
"""What an answer is called degraded by that load has cost samples."""


class Shed(Protocol):
    """What load leaves of one request's calls."""

    @property
    def noted(self) -> bool:
        """Whether the request has got fewer samples for it."""
        ...

    def calls(self, tier: str, most: int) -> int:
        """Return the calls that a request may fan out to on a tier, of `most`; at least 1."""
        ...

    def optional(self, tier: str) -> bool:
        """Whether calls that an answer can do without may be made on a tier now; counts if not."""
        ...

    def note(self) -> None:
        """Note that the request gets fewer samples."""
        ...


class NoShedding:
    """Leaves everything, whatever the load."""

    noted = False

    def calls(self, _tier: str, most: int) -> int:
        """Return all of them."""
        return most

    def optional(self, _tier: str) -> bool:
        """Return that they may be made."""
        return True

    def note(self) -> None:
        """Do nothing: nothing is shed."""


@dataclass(frozen=True, slots=True)
class ShedLimits:
    """From which pressure samples shrink.

    Attributes:
        samples_from: Calls in flight and waiting over those that there is room for, in (0, 1).
    """

    samples_from: float = 0.8

    def left(self, pressure: float, priority: Priority, most: int, least: int = 1) -> int:
        """Return how many of `most` calls a request may fan out to.

        All of them below the pressure at which its priority begins to shrink, `least` from where
        the next higher one begins, and linearly fewer in between.

        Args:
            pressure: Calls in flight and waiting over those that there is room for, 0 and up.
            priority: Of the request.
            most: Calls that its budget holds.
            least: Answers that it asks for.
        """
        over = (pressure - self.begins(priority)) / self._span
        shrunk = round(most - min(1.0, max(0.0, over)) * (most - 1))
        return max(shrunk, min(least, most), 1)

    def begins(self, priority: Priority) -> float:
        """Return the pressure from which a priority gets fewer samples."""
        steps = {"low": -1, "normal": 0, "high": 1}
        return self.samples_from + steps[priority] * self._span

    @property
    def _span(self) -> float:
        return 1 - self.samples_from


@dataclass(slots=True)
class RequestShed:
    """What load leaves of one request's calls. See `Shed`.

    Attributes:
        limits: From which pressure samples shrink.
        load: Reads the tiers' load.
        priority: Of the request.
        least: Answers that it asks for.
        counts: What was shed so far, of all requests, by kind.
        noted: Whether this one has got fewer samples.
    """

    limits: ShedLimits
    load: Callable[[], Load]
    priority: Priority
    least: int
    counts: Counter[str]
    noted: bool = False

    def calls(self, tier: str, most: int) -> int:
        """Return the calls that a request may fan out to. See `Shed.calls`."""
        return self.limits.left(self._pressure(tier), self.priority, most, self.least)

    def optional(self, tier: str) -> bool:
        """Whether calls may be made that an answer can do without. See `Shed.optional`."""
        spare = self._pressure(tier) < self.limits.begins(self.priority)
        if not spare:
            self.counts["optional"] += 1
        return spare

    def note(self) -> None:
        """Note that the request gets fewer samples; counted once."""
        if not self.noted:
            self.counts["samples"] += 1
        self.noted = True

    def _pressure(self, tier: str) -> float:
        load = self.load().tiers.get(tier)
        return 0.0 if load is None else load.pressure


@dataclass(slots=True)
class Shedding:
    """What load leaves of all requests.

    Attributes:
        limits: From which pressure samples shrink.
        load: Reads the tiers' load.
        counts: What was shed so far: requests that got fewer samples, optional calls not made.
    """

    limits: ShedLimits
    load: Callable[[], Load]
    counts: Counter[str] = field(default_factory=Counter)

    def of(self, priority: Priority, least: int) -> RequestShed:
        """Return what load leaves of a request that asks for so many answers."""
        return RequestShed(self.limits, self.load, priority, least, self.counts)
