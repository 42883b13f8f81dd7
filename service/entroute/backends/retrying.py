"""Whether, when and how often a call that failed is tried again, before its first byte.

Retries help against a worker that fails alone and harm where all of them do: then every request
becomes several. So each waits a random while, and all of a tier's share one budget.
"""

import time
from collections import Counter, deque
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from entroute.errors import (
    DeadlineExceeded,
    WorkerBusy,
    WorkerFailed,
    WorkerMisconfigured,
    WorkerRejected,
    WorkerUnavailable,
)
from entroute.protocols import Clock

_WINDOW_S = 10.0
_ROUNDING = 1e-9  # five fifths are one
_LONGEST_WAIT_S = 1.0  # what a busy worker may ask for and still be asked once more by us

RetryResult = Literal["ok", "failed", "budget"]


@dataclass(frozen=True, slots=True)
class Retries:
    """What is tried again before the first byte.

    Attributes:
        attempts: Most attempts of one call, at least 1.
        base_s: Longest pause before the second attempt, in seconds, doubled before each further.
        max_s: Longest pause of all, in seconds, 0 or more.
        budget: Retries that every call adds to those its tier may make, in [0, 1].
        min_per_s: Retries a second that a tier may make without, 0 or more.
    """

    attempts: int = 3
    base_s: float = 0.025
    max_s: float = 0.25
    budget: float = 0.2
    min_per_s: float = 10.0

    def pause(self, retry: int, rng: Random) -> float:
        """Return the pause before a retry, in seconds; `retry` is 0 for the first.

        Source: full jitter, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).
        """
        return rng.uniform(0.0, min(self.max_s, self.base_s * 2.0**retry))


class RetryBudget:
    """How many retries a tier may make now: a share of its calls, and a few in any case.

    Calls put in, retries take out; both are forgotten after ten seconds. So the retries of the
    last ten seconds are at most `budget` times their calls, plus `min_per_s` times ten.

    Args:
        retries: Share and least rate.
        clock: Monotonic seconds.

    Source: Finagle's RetryBudget, a token bucket over a window.
    """

    def __init__(self, retries: Retries, clock: Clock) -> None:
        self._share = retries.budget
        self._reserve = retries.min_per_s * _WINDOW_S
        self._clock = clock
        self._slots: deque[list[float]] = deque()  # [second, what was put in less what was taken]

    @property
    def left(self) -> float:
        """Retries that may be made now, more than -1."""
        oldest = self._clock() - _WINDOW_S
        while self._slots and self._slots[0][0] <= oldest:
            self._slots.popleft()
        return self._reserve + sum(balance for _, balance in self._slots)

    def put(self) -> None:
        """Note a call."""
        self._add(self._share)

    def take(self) -> bool:
        """Return whether one more retry may be made, and count it."""
        if self.left < 1.0 - _ROUNDING:
            return False
        self._add(-1.0)
        return True

    def _add(self, amount: float) -> None:
        second = float(int(self._clock()))
        if not self._slots or self._slots[-1][0] < second:
            self._slots.append([second, 0.0])
        self._slots[-1][1] += amount


@dataclass(frozen=True, slots=True)
class Failed:
    """A failed attempt of a call, before its first piece.

    Attributes:
        error: How it failed.
        attempts: Attempts so far, this one included.
        elsewhere: Whether a worker is left that it has not tried.
        again: Whether the same worker may be asked once more, as no other is left.
        deadline: Monotonic seconds.
    """

    error: Exception
    attempts: int
    elsewhere: bool
    again: bool
    deadline: float


@dataclass(slots=True)
class Retrying:
    """The retries of one tier.

    Attributes:
        retries: What is tried again.
        clock: Monotonic seconds.
        rng: Draws pauses.
        budget: Shared by all calls of the tier.
        results: Retries so far by how they ended; `budget` are those that were not made for it.
        hedges: Second calls so far by what came of them, likewise.
    """

    retries: Retries = field(default_factory=Retries)
    clock: Clock = time.perf_counter
    rng: Random = field(default_factory=Random)
    budget: RetryBudget = field(init=False)
    results: Counter[str] = field(default_factory=Counter)
    hedges: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.budget = RetryBudget(self.retries, self.clock)

    def go_on_from(self, before: "Retrying") -> None:
        """Take over what was counted before a reload."""
        self.results, self.hedges = before.results, before.hedges

    def repeats(self) -> bool:
        """Return whether an answer that broke off may be made again, and count it if not."""
        granted = self.budget.take()
        if not granted:
            self.results["budget"] += 1
        return granted

    def ended(self, result: RetryResult, failures: int) -> None:
        """Note how an attempt ended; it is a retry where the call had failed before."""
        if failures:
            self.results[result] += 1

    def pause(self, failed: Failed) -> float | None:
        """Return the seconds to wait before the next attempt, or None where the error stands.

        What a worker rejects, every worker rejects. There is no retry that could not begin before
        the deadline, and none that the budget does not hold.
        """
        if isinstance(failed.error, WorkerRejected | DeadlineExceeded):
            return None
        pause = self._elsewhere(failed) if failed.elsewhere else self._again(failed)
        if pause is None or failed.attempts >= self.retries.attempts:
            return None
        if self.clock() + pause >= failed.deadline:
            return None
        return pause if self.repeats() else None

    def _elsewhere(self, failed: Failed) -> float:
        """Return the pause before another worker is asked.

        None the first time where the worker did no work for the call: whoever is asked instead
        gets no more than its share, and there is nobody who should be given time to recover.
        """
        idle = isinstance(failed.error, WorkerUnavailable | WorkerMisconfigured)
        if idle and failed.attempts == 1:
            return 0.0
        return self.retries.pause(failed.attempts - 1, self.rng)

    def _again(self, failed: Failed) -> float | None:
        """Return the pause before the same worker is asked once more, None where it is not.

        Only where that can help: a connection that broke, or a worker that said for how short a
        while it is busy. One that timed out or failed would do so again.
        """
        error = failed.error
        if not failed.again:
            return None
        pause = self.retries.pause(failed.attempts - 1, self.rng)
        broke = isinstance(error, WorkerFailed) and error.broke_off
        if broke or isinstance(error, WorkerUnavailable):
            return pause
        if isinstance(error, WorkerBusy) and error.retry_after_s <= _LONGEST_WAIT_S:
            return error.retry_after_s + pause
        return None
