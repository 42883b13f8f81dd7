"""How the HTTP server is configured."""

from pydantic import BaseModel, ConfigDict, Field

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
"""Hosts that only this machine reaches."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(_Strict):
    """The HTTP server."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(
        default=8080, ge=0, le=65535, description="Port to listen on, 0 for a free one."
    )
    processes: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Processes that answer, one a core at most. Several need a Redis; their "
        "metrics are summed whichever is asked.",
    )
    allow_unauthenticated: bool = Field(
        default=False, description="Listen beyond loopback although no `auth` is configured."
    )
    max_body_bytes: int = Field(
        default=8 * 1024 * 1024, ge=1024, description="Largest request body accepted."
    )
    max_header_bytes: int = Field(
        default=32 * 1024, ge=1024, description="Largest sum of request headers accepted."
    )
    receive_s: float = Field(
        default=60.0, gt=0, description="Seconds until a whole request must have arrived."
    )
    send_s: float = Field(
        default=60.0,
        gt=0,
        description="Seconds that a client may leave an answer unread while its buffers are full.",
    )
    keep_alive_s: float = Field(
        default=5.0, gt=0, description="Seconds between keep-alive comments on a silent stream."
    )
    drain_delay_s: float = Field(
        default=0.0,
        ge=0,
        description="Seconds after SIGTERM during which new requests are still taken, while "
        "`/readyz` already says draining: time for load balancers to notice.",
    )
    drain_s: float = Field(
        default=300.0,
        ge=0,
        description="Seconds after that in which open requests may end, then they are told; as "
        "`limits.deadline_s`, the longest answer ends. What stops the process must wait longer: "
        "`terminationGracePeriodSeconds`, `TimeoutStopSec`.",
    )
    log_level: str = Field(
        default="info", pattern="^(debug|info|warning|error)$", description="Least level logged."
    )
