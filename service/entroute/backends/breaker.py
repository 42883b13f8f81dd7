"""A circuit breaker: a worker that keeps failing is left alone, then tried with one call."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from random import Random

from entroute.protocols import Clock

_BUCKETS = 10
_JITTER = 0.2  # gateways that saw one worker fail must not all come back at one moment


class BreakerState(IntEnum):
    """What a breaker lets through, by the number that metrics show."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """When a breaker opens and for how long.

    Attributes:
        failures: Failures in a row that open it, at least 1.
        rate: Share of failed attempts in the window that opens it, in (0, 1].
        least: Attempts that the window must hold for its share to count, at least 1.
        window_s: Length of the window, above 0.
        open_s: Longest it stays open the first time, above 0.
        max_open_s: Longest it ever stays open.
    """

    failures: int = 5
    rate: float = 0.5
    least: int = 10
    window_s: float = 10.0
    open_s: float = 5.0
    max_open_s: float = 60.0


class Window:
    """Counts attempts of the last seconds, in ten buckets of time.

    Args:
        length_s: Length of the window, above 0.
    """

    def __init__(self, length_s: float) -> None:
        self._width_s = length_s / _BUCKETS
        self._buckets: deque[list[int]] = deque(maxlen=_BUCKETS)  # each: its number, good, bad

    def add(self, now: float, *, good: int = 0, bad: int = 0) -> None:
        """Count attempts that ended at `now`, in monotonic seconds."""
        number = int(now / self._width_s)
        if not self._buckets or self._buckets[-1][0] < number:
            self._buckets.append([number, 0, 0])
        self._buckets[-1][1] += good
        self._buckets[-1][2] += bad

    def share(self, now: float) -> tuple[float, int]:
        """Return the share of bad attempts, in [0, 1], and the number of all in the window."""
        oldest = int(now / self._width_s) - _BUCKETS
        recent = [bucket for bucket in self._buckets if bucket[0] > oldest]
        bad = sum(bucket[2] for bucket in recent)
        count = bad + sum(bucket[1] for bucket in recent)
        return (bad / count if count else 0.0), count


@dataclass(slots=True, eq=False)
class Pass:
    """What an attempt was let through with; its result counts only while that still holds.

    Attributes:
        term: Number of the breaker's term in which it began; -1 where it counts in none.
        answering_since: Monotonic seconds of a trial's first piece of an answer, None before it.
    """

    term: int
    answering_since: float | None = None


def _silent(_words: str) -> None:
    """Say nothing."""


@dataclass(slots=True, eq=False)
class Breaker:
    """Says whether a worker may be called, from how its calls ended. Pure but for its clock.

    Closed, it opens on `failures` in a row or on a high share of failures in the window. Open, it
    lets nobody through; after a time that doubles while it opens again and again, it is half open:
    one call at a time is let through on trial. A trial that succeeds closes it, as does one whose
    answer has been coming for as long as the breaker is open at first: answers of minutes must not
    keep a sound worker out. A trial that fails opens it again; an abandoned one says nothing.

    Every change of state begins a new term. The result of a call that began in an earlier term is
    old news: many calls that fail at once open the breaker once, and an answer that began before
    the worker broke does not close it.

    Attributes:
        clock: Monotonic seconds.
        rng: Draws the jitter.
        limits: When it opens and for how long.
        said: Is told of every change of state, in words.
        opened: How often it has opened.

    Source:
        Nygard, Release It!, 2nd edition, chapter 5, "Circuit Breaker".
    """

    clock: Clock
    rng: Random
    limits: BreakerLimits = field(default_factory=BreakerLimits)
    said: Callable[[str], None] = _silent
    opened: int = 0
    _term: int = 0
    _row: int = 0
    _until: float | None = None
    _length_s: float = 0.0
    _closed_at: float | None = None
    _trial: Pass | None = None
    _window: Window = field(init=False)

    def __post_init__(self) -> None:
        self._window = Window(self.limits.window_s)

    @property
    def state(self) -> BreakerState:
        """What it lets through now."""
        if self._until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if self.clock() < self._until else BreakerState.HALF_OPEN

    @property
    def admits(self) -> bool:
        """Whether a call may be made now."""
        if self._until is None:
            return True
        return self._trial is None and self.clock() >= self._until

    @property
    def wait_s(self) -> float:
        """Seconds until it may admit a call, 0 or more."""
        return 0.0 if self._until is None else max(0.0, self._until - self.clock())

    @property
    def closed_at(self) -> float | None:
        """Monotonic seconds at which it last closed, None where it never opened."""
        return self._closed_at

    def begin(self) -> Pass:
        """Let an attempt through; one that is not admitted counts for nothing."""
        if not self.admits:
            return Pass(-1)
        started = Pass(self._term)
        if self._until is not None:
            self._trial = started
            self.said("tried with one call")
        return started

    def answering(self, attempt: Pass) -> None:
        """Note that a piece of an attempt's answer has come."""
        if attempt is not self._trial:
            return
        now = self.clock()
        if attempt.answering_since is None:
            attempt.answering_since = now
        elif now - attempt.answering_since >= self.limits.open_s:
            self._close("has been answering a trial for a while")

    def succeeded(self, attempt: Pass) -> None:
        """Note that an attempt was answered to the end."""
        if attempt.term != self._term:
            return
        if attempt is self._trial:
            self._close("answered a trial")
        else:
            self._row = 0
            self._window.add(self.clock(), good=1)

    def failed(self, attempt: Pass, why: str) -> None:
        """Note that an attempt failed through the worker's fault."""
        if attempt.term != self._term:
            return
        if attempt is self._trial:
            self._open(f"failed a trial: {why}")
            return
        now = self.clock()
        self._row += 1
        self._window.add(now, bad=1)
        share, count = self._window.share(now)
        if self._row >= self.limits.failures:
            self._open(f"{self._row} failures in a row, at last: {why}")
        elif count >= self.limits.least and share >= self.limits.rate:
            self._open(f"{share:.0%} of {count} attempts failed, at last: {why}")

    def abandoned(self, attempt: Pass) -> None:
        """Note that an attempt ended without saying anything of the worker."""
        if attempt is self._trial:
            self._trial = None

    def _open(self, why: str) -> None:
        now = self.clock()
        soon = self._closed_at is not None and now - self._closed_at < self.limits.window_s
        again = self._until is not None or soon
        longest = self.limits.max_open_s
        self._length_s = min(2 * self._length_s if again else self.limits.open_s, longest)
        length = self._length_s * (1 - _JITTER * self.rng.random())
        self.opened += 1
        self._begin_term(now + length)
        self.said(f"left alone for {length:.1f} s: {why}")

    def _close(self, why: str) -> None:
        self._closed_at = self.clock()
        self._begin_term(None)
        self.said(f"called again: it {why}")

    def _begin_term(self, until: float | None) -> None:
        self._term += 1
        self._until = until
        self._trial = None
        self._row = 0
        self._window = Window(self.limits.window_s)
