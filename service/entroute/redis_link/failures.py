"""What it means that Redis failed: is it gone, or there and unwilling?"""

from dataclasses import dataclass
from typing import Literal

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

Result = Literal["ok", "timeout", "unavailable", "refused", "open"]
"""What became of a call: answered; no answer in time; no connection, or a Redis that cannot serve;
an answer that says no; not asked, since Redis failed a moment ago."""

RESULTS: tuple[Result, ...] = ("ok", "timeout", "unavailable", "refused", "open")

# What is no Redis at all answers anything, and connections go while others use them: that fails in
# more ways than the client wraps.
FAILURES = (
    RedisError,
    RedisClusterException,
    OSError,
    TimeoutError,
    EOFError,
    ValueError,
    LookupError,
    AttributeError,
    RuntimeError,
)
"""What a call to Redis may raise because of Redis."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call failed.

    Attributes:
        result: In one word.
        gone: Whether other calls will fail, too, so that Redis had better be left alone.
        state: What to tell the operator, the same words for the same state; None where the fault
            is the call's own.
    """

    result: Result
    gone: bool
    state: str | None
    replaced: bool = False


_STATES: tuple[tuple[type[Exception], Failure], ...] = (
    (RedisTimeoutError, Failure("timeout", True, "no answer in time")),
    (TimeoutError, Failure("timeout", True, "no answer in time")),
    (
        AuthenticationError,
        Failure("refused", True, "wrong or missing user or password"),
    ),
    (AuthorizationError, Failure("refused", True, "this user may not log in")),
    (BusyLoadingError, Failure("unavailable", True, "still loading its data")),
    (ClusterDownError, Failure("unavailable", True, "cluster or master down")),
    (ClusterError, Failure("unavailable", True, "the cluster keeps redirecting")),
    (
        OutOfMemoryError,
        Failure("refused", False, "out of memory: raise maxmemory or let maxmemory-policy evict"),
    ),
    (ReadOnlyError, Failure("refused", False, "read-only: this is a replica", replaced=True)),
    (
        NoPermissionError,
        Failure("refused", False, "this user lacks rights: see the operations page"),
    ),
)


def failure_of(error: Exception) -> Failure:
    """Return what an error of `FAILURES` means."""
    for kind, failure in _STATES:
        if isinstance(error, kind):
            return failure
    if isinstance(error, ResponseError):
        if str(error).startswith("MISCONF"):
            return Failure("refused", False, "refuses writes, since it cannot save to disk")
        return Failure("refused", False, None)
    return Failure("unavailable", True, f"not reachable: {_cause(error)}")


def _cause(error: Exception) -> str:
    """Return what happened, in words that hold no address: clients put more into theirs."""
    cause = error.__cause__ or error.__context__
    return type(cause or error).__name__
