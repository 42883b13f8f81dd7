"""How calls to workers are kept going while workers fail: limits of time, retries, health."""

from pydantic import BaseModel, ConfigDict, Field

from entroute.backends.http_worker import Timeouts
from entroute.backends.retrying import Retries


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
    """Retries before the first byte."""

    attempts: int = Field(default=3, ge=1, le=10, description="Most workers tried for one call.")

    def build(self) -> Retries:
        """Return what is tried again."""
        return Retries(**self.model_dump())
