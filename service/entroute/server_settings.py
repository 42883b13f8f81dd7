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
    allow_unauthenticated: bool = Field(
        default=False, description="Listen beyond loopback although no `auth` is configured."
    )
    max_body_bytes: int = Field(
        default=8 * 1024 * 1024, ge=1024, description="Largest request body accepted."
    )
    max_header_bytes: int = Field(
        default=32 * 1024, ge=1024, description="Largest sum of request headers accepted."
    )
    keep_alive_s: float = Field(
        default=5.0, gt=0, description="Seconds between keep-alive comments on a silent stream."
    )
    drain_s: float = Field(
        default=30.0, ge=0, description="Seconds that open requests have to end after SIGTERM."
    )
    log_level: str = Field(
        default="info", pattern="^(debug|info|warning|error)$", description="Least level logged."
    )
