"""How calls to workers are kept going while workers fail: limits of time, retries, health."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from entroute.backends.breaker import BreakerLimits
from entroute.backends.http_worker import Timeouts
from entroute.backends.outliers import OutlierLimits
from entroute.backends.queueing import QueueLimits
from entroute.backends.retrying import Retries
from entroute.shedding import ShedLimits


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TimeoutSettings(_Strict):
    """How long a worker may take, in seconds."""

    connect_s: float = Field(default=2.0, gt=0, description="Until a connection stands.")
    first_token_s: float = Field(default=60.0, gt=0, description="To a stream's first piece.")
    between_tokens_s: float = Field(default=30.0, gt=0, description="Between pieces of a stream.")
    total_s: float = Field(default=600.0, gt=0, description="A whole call.")

    def build(self) -> Timeouts:
        """Return the timeouts."""
        return Timeouts(**self.model_dump())


class HealthSettings(_Strict):
    """Health sweeps over all workers."""

    interval_s: float = Field(default=5.0, gt=0, description="Seconds between sweeps.")
    timeout_s: float = Field(default=2.0, gt=0, description="Seconds a worker has to answer.")


class RetrySettings(_Strict):
    """Retries before the first byte, and second calls to workers that let one wait for it."""

    attempts: int = Field(default=3, ge=1, le=10, description="Most attempts of one call.")
    base_ms: float = Field(
        default=25.0,
        ge=0,
        le=10_000,
        description="Longest pause before a call's first retry, in milliseconds, doubled before "
        "each further one; each is drawn between 0 and that.",
    )
    max_ms: float = Field(
        default=250.0, ge=0, le=60_000, description="Longest pause of all, in milliseconds."
    )
    budget: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="Share of a tier's calls of the last ten seconds that may be tried again.",
    )
    min_per_s: float = Field(
        default=10.0,
        ge=0,
        description="Retries a second that it may make besides; hedges count too.",
    )
    hedge_after_ms: float | None = Field(
        default=None,
        gt=0,
        description="Milliseconds without a first piece, or without an answer that is not "
        "streamed, after which another worker is asked the same; null for never.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_ms < self.base_ms:
            raise ValueError("max_ms must be at least base_ms")
        return self

    def build(self) -> Retries:
        """Return what is tried again."""
        return Retries(
            self.attempts, self.base_ms / 1e3, self.max_ms / 1e3, self.budget, self.min_per_s
        )

    @property
    def hedge_after_s(self) -> float | None:
        """Seconds after which another worker is asked the same, None for never."""
        return None if self.hedge_after_ms is None else self.hedge_after_ms / 1e3


class BreakerSettings(_Strict):
    """When a worker that keeps failing is left alone."""

    failures: int = Field(default=5, ge=1, description="Failures in a row that open a breaker.")
    rate: float = Field(
        default=0.5, gt=0, le=1, description="Share of failed attempts that opens it, too."
    )
    least: int = Field(
        default=10, ge=1, description="Attempts within the window for their share to count."
    )
    window_s: float = Field(default=10.0, gt=0, description="Seconds that the share is taken over.")
    open_s: float = Field(
        default=5.0, gt=0, description="Seconds it stays open, doubled each time it opens again."
    )
    max_open_s: float = Field(default=60.0, gt=0, description="Most seconds it stays open.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_open_s < self.open_s:
            raise ValueError("max_open_s must be at least open_s")
        return self

    def build(self) -> BreakerLimits:
        """Return the limits."""
        return BreakerLimits(**self.model_dump())


class OutlierSettings(_Strict):
    """When a worker that does worse than the others of its tier is ejected."""

    interval_s: float = Field(default=10.0, gt=0, description="Seconds between comparisons.")
    requests: int = Field(
        default=20, ge=1, description="Attempts in an interval for a worker to be compared."
    )
    slow_factor: float | None = Field(
        default=3.0,
        gt=1,
        description="Times the others' median time to answer from which a worker is too slow; "
        "null leaves slow ones alone.",
    )
    base_ejection_s: float = Field(
        default=30.0, gt=0, description="Seconds of an ejection, times how many in a row."
    )
    max_ejection_s: float = Field(default=300.0, gt=0, description="Most seconds of an ejection.")
    max_ejected: float = Field(
        default=0.34,
        ge=0,
        le=1,
        description="Share of a tier's workers ejected at one time; one of two or more may always "
        "be, unless this is 0.",
    )

    def build(self) -> OutlierLimits:
        """Return the limits."""
        return OutlierLimits(**self.model_dump())


class QueueSettings(_Strict):
    """The queue of each tier: calls wait in it while all workers have `max_in_flight` of them."""

    size: int = Field(default=1024, ge=0, description="Calls that wait at most; 0 for none.")
    timeout_s: float = Field(default=30.0, gt=0, description="Seconds that a call waits at most.")

    def build(self) -> QueueLimits:
        """Return the limits."""
        return QueueLimits(**self.model_dump())


class ShedSettings(_Strict):
    """What is left out under load, before any request is refused."""

    samples_from: float = Field(
        default=0.8,
        ge=0.5,
        lt=1,
        description="Calls in flight and waiting, as a share of those that a tier's workers take, "
        "from which requests get fewer samples: of normal priority; of low one and high one it is "
        "as far below and above as 1 is above it.",
    )

    def build(self) -> ShedLimits:
        """Return the limits."""
        return ShedLimits(**self.model_dump())
