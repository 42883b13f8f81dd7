"""One worker of a pool, and what is known of it."""

import logging
from dataclasses import dataclass, field
from random import Random
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from entroute.backends.breaker import Breaker, BreakerLimits, BreakerState, Pass
from entroute.backends.http_worker import HttpWorker
from entroute.backends.outliers import OutlierLimits, Record, TimesKey
from entroute.backends.slow_start import weight
from entroute.decisions import WorkerLoad
from entroute.errors import (
    DeadlineExceeded,
    WorkerBusy,
    WorkerMisconfigured,
    WorkerRejected,
    WorkerUnavailable,
)

W = TypeVar("W", bound=HttpWorker)

_LOG = logging.getLogger(__name__)
_LONGEST_REST_S = 30.0
_NEVER = (None, None, None)
_SAYS_NOTHING = (WorkerRejected, WorkerBusy, WorkerMisconfigured, DeadlineExceeded)


@dataclass(frozen=True, slots=True)
class Care:
    """How workers that fail are spared.

    Attributes:
        breaker: Limits of every worker's breaker.
        outliers: Who is ejected from a tier.
        slow_start_s: Seconds until a worker that came back takes its whole share, 0 for at once.
        rng: Draws jitter.
    """

    breaker: BreakerLimits = field(default_factory=BreakerLimits)
    outliers: OutlierLimits = field(default_factory=OutlierLimits)
    slow_start_s: float = 30.0
    rng: Random = field(default_factory=Random)


@dataclass(slots=True, eq=False)
class Attempt:
    """One attempt at a worker, on its way.

    Attributes:
        entry: What the breaker let it through with.
        began: Monotonic seconds.
        key: What its time to answer may be compared with.
        first_at: Monotonic seconds of the first piece of a stream, None before it.
        whole: Whether all of the answer has come.
    """

    entry: Pass
    began: float
    key: TimesKey
    first_at: float | None = None
    whole: bool = False


class Member(Generic[W]):
    """A worker and what is known of it; it outlives reloads and searches that keep the worker.

    Every attempt at it is told of: `begun`, then once `succeeded`, `failed` or `abandoned`. Health
    is what sweeps ask and the breaker what calls find: neither stands in for the other. A server
    that lists its models may still fail every answer, so a sweep does not close a breaker.

    Args:
        worker: The client.
        care: How it is spared while it fails.

    Attributes:
        breaker: Lets calls through, or not.
        healthy: Whether the last health sweep, and no call since, found that it may be called.
        detail: Why not, in words.
        context_length: Tokens it can hold as it told, None if it did not.
        places: Calls that have a place in it, those about to begin among them.
        load: What it last said of its load, None where it does not say.
    """

    def __init__(self, worker: W, care: Care | None = None) -> None:
        care = care or Care()
        self.worker = worker
        self.healthy = True
        self.detail = ""
        self.context_length: int | None = None
        self.places = 0
        self.load: WorkerLoad | None = None
        self.breaker = Breaker(worker.clock, care.rng, care.breaker, said=self._log)
        self._slow_start_s = care.slow_start_s
        self._recovered_at: float | None = None
        self._rests_until: float | None = None
        self._asked_at: float | None = None
        self._ejected_until: float | None = None
        self._ejections = 0
        self._record = Record()
        self._running = 0

    def care(self, care: Care) -> None:
        """Take other limits, as a reload brings them; what is known stays."""
        self.breaker.limits = care.breaker
        self._slow_start_s = care.slow_start_s

    @property
    def name(self) -> str:
        """Host and port, as metrics name it."""
        return urlsplit(self.worker.url).netloc

    @property
    def url(self) -> str:
        """Base URL."""
        return self.worker.url

    @property
    def in_flight(self) -> int:
        """Calls of this gateway that the worker is answering, streams until they end."""
        return max(self.places, self.worker.in_flight)

    @property
    def admits(self) -> bool:
        """Whether it may be called where no other can: all but an ejection is respected."""
        if not (self.healthy and self.breaker.admits):
            return False
        # Half open, the place of whoever is about to begin is the trial's.
        about_to_begin = self.places > self._running
        return not (about_to_begin and self.breaker.state is BreakerState.HALF_OPEN)

    @property
    def callable(self) -> bool:
        """Whether it may be called now."""
        return self.admits and not self.ejected

    @property
    def ejected(self) -> bool:
        """Whether it is ejected, as one that does worse than the others."""
        return self._ejected_until is not None and self.worker.clock() < self._ejected_until

    @property
    def resting(self) -> bool:
        """Whether it said that it is busy, a moment ago: others are asked first."""
        return self._rests_until is not None and self.worker.clock() < self._rests_until

    @property
    def weight(self) -> float:
        """Share of its usual calls that it should take, in [0.1, 1]: less while it warms up.

        Half open it counts in full, or on a quiet day its one trial would never be made.
        """
        back = (self._recovered_at, self.breaker.closed_at, self._ejected_until)
        if back == _NEVER or self.breaker.state is BreakerState.HALF_OPEN:
            return 1.0
        latest = max(at for at in back if at is not None)
        return weight(self.worker.clock() - latest, self._slow_start_s)

    @property
    def warming(self) -> bool:
        """Whether it came back a moment ago."""
        return self.weight < 1

    @property
    def wait_s(self) -> float | None:
        """Seconds until it may be called again, 0 or more; None where nobody can say."""
        if self.healthy:
            return self.breaker.wait_s
        return None if self._asked_at is None else max(0.0, self._asked_at - self.worker.clock())

    @property
    def why(self) -> str:
        """Why it may not be called, in words; "" where it may."""
        if not self.healthy:
            return self.detail
        return "" if self.breaker.admits else f"worker {self.name} keeps failing"

    def found(self, detail: str, *, again_s: float) -> None:
        """Take what a health sweep found.

        Args:
            detail: Why it may not be called, "" where it may.
            again_s: Seconds until the next sweep.
        """
        if not detail and not self.healthy:
            self.joined()
        self.healthy, self.detail = not detail, detail
        self._asked_at = self.worker.clock() + again_s

    def joined(self) -> None:
        """Note that it came to workers that are running: it warms up."""
        self._recovered_at = self.worker.clock()

    def begun(self, key: TimesKey = (False, 0)) -> Attempt:
        """Note that an attempt at it begins."""
        self._running += 1
        return Attempt(self.breaker.begin(), self.worker.clock(), key)

    def answering(self, attempt: Attempt, *, whole: bool) -> None:
        """Note that a piece of a streamed answer has come, and whether it was the last."""
        if attempt.first_at is None:
            attempt.first_at = self.worker.clock()
        attempt.whole = whole
        self.breaker.answering(attempt.entry)

    def succeeded(self, attempt: Attempt) -> None:
        """Note that it answered an attempt to the end."""
        self._running -= 1
        until = self.worker.clock() if attempt.first_at is None else attempt.first_at
        self._record.answered(until - attempt.began, attempt.key)
        self.breaker.succeeded(attempt.entry)

    def failed(self, attempt: Attempt, error: Exception) -> None:
        """Note that an attempt failed.

        What the client did wrong, or had no time for, says nothing of the worker. One that is busy
        is alive: it rests. Where nobody listens nobody need be asked before the next sweep; one
        connection that was reset is one failure, as a network in between may do that.
        """
        self._running -= 1
        unheard = isinstance(error, WorkerUnavailable) and error.refused
        if unheard or (isinstance(error, WorkerMisconfigured) and attempt.first_at is None):
            if self.healthy:
                self._log(f"not called before the next sweep: {error}")
            self.healthy, self.detail = False, str(error)
        if isinstance(error, WorkerBusy):
            rest = min(error.retry_after_s, _LONGEST_REST_S)
            self._rests_until = self.worker.clock() + rest
        if isinstance(error, _SAYS_NOTHING):
            self.breaker.abandoned(attempt.entry)
            return
        self._record.bad += 1
        self.breaker.failed(attempt.entry, str(error))

    def abandoned(self, attempt: Attempt) -> None:
        """Note that an attempt was cancelled: that says nothing of the worker."""
        self._running -= 1
        self.breaker.abandoned(attempt.entry)

    def take_record(self) -> Record:
        """Return what it did since it was last asked, and begin anew."""
        record, self._record = self._record, Record()
        return record

    def eject(self, why: str, limits: OutlierLimits) -> None:
        """Leave it alone for a while, longer at each time in a row."""
        self._ejections += 1
        length = min(limits.base_ejection_s * self._ejections, limits.max_ejection_s)
        self._ejected_until = self.worker.clock() + length
        self._log(f"ejected for {length:g} s: {why}")

    def pardon(self) -> None:
        """Note an interval without fault: the next ejection is shorter again."""
        self._ejections = max(0, self._ejections - 1)

    def _log(self, words: str) -> None:
        _LOG.warning("worker %s of tier %s: %s", self.worker.url, self.worker.tier, words)
