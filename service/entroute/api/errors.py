"""The one table from errors to statuses, and OpenAI's error body."""

from math import ceil
from typing import Any

import orjson

from entroute.errors import (
    AuthenticationFailed,
    BudgetExhausted,
    CallFailed,
    ContextLengthExceeded,
    DeadlineExceeded,
    HeadersTooLarge,
    InsufficientQuota,
    InvalidRequest,
    KeysUnavailable,
    LimitsUnavailable,
    NotFound,
    Overloaded,
    PermissionDenied,
    RateLimitExceeded,
    ReceiveTimeout,
    RequestError,
    RequestTooLarge,
    ShuttingDown,
    StoreUnavailable,
    TierUnavailable,
    WorkerError,
    WorkerRejected,
    WorkerTimeout,
)

STATUS: tuple[tuple[type[Exception], int, str, str | None], ...] = (
    # error, status, OpenAI's type, default code; the first that fits counts
    (ContextLengthExceeded, 400, "invalid_request_error", "context_length_exceeded"),
    (InvalidRequest, 400, "invalid_request_error", None),
    (AuthenticationFailed, 401, "authentication_error", "invalid_api_key"),
    (PermissionDenied, 403, "permission_error", None),
    (NotFound, 404, "invalid_request_error", None),
    (InsufficientQuota, 429, "insufficient_quota", "insufficient_quota"),
    (RateLimitExceeded, 429, "requests", "rate_limit_exceeded"),  # or of type tokens, cost
    (LimitsUnavailable, 503, "server_error", "limits_unavailable"),
    (ShuttingDown, 503, "server_error", "draining"),
    (ReceiveTimeout, 408, "invalid_request_error", "request_timeout"),
    (RequestTooLarge, 413, "invalid_request_error", "request_too_large"),
    (HeadersTooLarge, 431, "invalid_request_error", "headers_too_large"),
    (BudgetExhausted, 400, "invalid_request_error", "budget_exhausted"),
    (KeysUnavailable, 503, "server_error", "keys_unavailable"),
    (StoreUnavailable, 503, "server_error", "store_unavailable"),
    (WorkerTimeout, 504, "server_error", "upstream_timeout"),
    (DeadlineExceeded, 504, "server_error", "deadline_exceeded"),
    (Overloaded, 503, "server_error", "overloaded"),
    (TierUnavailable, 503, "server_error", "tier_unavailable"),
    (WorkerError, 502, "server_error", "upstream_error"),
    (CallFailed, 503, "server_error", "unavailable"),  # a shared answer that was cancelled
)

_BAD_REQUEST = 400
_PASSED_ON = frozenset({413})  # other 4xx of workers are told as 400, never as FastAPI's 422
_RETRY_S: tuple[tuple[type[Exception], int], ...] = (
    (ShuttingDown, 1),  # another server answers
    (LimitsUnavailable, 1),  # when their books are next asked for
    (KeysUnavailable, 2),  # when they, or a store that failed, are next looked for
    (StoreUnavailable, 2),
    (TierUnavailable, 5),  # a health sweep brings a worker back, if nobody knows better
    (CallFailed, 1),  # an answer that was cancelled
)


def rendered(error: Exception) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Return status, body and headers of an error; 500 without details for one of ours."""
    if isinstance(error, WorkerRejected):
        body = _body(error.message, "invalid_request_error", error.param, error.code)
        return error.status if error.status in _PASSED_ON else _BAD_REQUEST, body, {}
    if isinstance(error, BudgetExhausted) and error.limit == "deadline":
        error = DeadlineExceeded("The deadline passed before there was an answer.")
    for kind, status, type_, usual in STATUS:
        if isinstance(error, kind):
            code = getattr(error, "code", None) or usual
            told = getattr(error, "dimension", type_) if kind is RateLimitExceeded else type_
            body = _body(_message(error), told, _param(error), code)
            return status, body, _headers(error, status)
    body = _body(
        "The gateway failed; the log has the details.", "server_error", None, "internal_error"
    )
    return 500, body, {}


def event(error: Exception) -> bytes:
    """Return an error as the last event of a stream."""
    return b"data: " + orjson.dumps(rendered(error)[1]) + b"\n\n"


def _body(message: str, type_: str, param: str | None, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": type_, "param": param, "code": code}}


def _message(error: Exception) -> str:
    """Workers' addresses are the operator's business: clients read which tier or phase failed."""
    if isinstance(error, WorkerTimeout):
        return f"A worker was too slow ({error.phase})."
    if isinstance(error, WorkerError):
        return "A worker failed to answer."
    if isinstance(error, TierUnavailable):
        return f"No worker of tier '{error.tier}' can be reached."
    if isinstance(error, StoreUnavailable):
        return "Shared state cannot be reached now; nothing is certain to have changed. Retry."
    if isinstance(error, Overloaded):
        return "The workers have no room now; retry later."
    return str(error)


def _param(error: Exception) -> str | None:
    if isinstance(error, BudgetExhausted):
        name = "deadline_ms" if error.limit == "deadline" else error.limit
        return f"entroute.budget.{name}"
    return error.param if isinstance(error, RequestError) else None


def _headers(error: Exception, status: int) -> dict[str, str]:
    wait = _wait_s(error)
    if wait is not None:
        again = "false" if isinstance(error, InsufficientQuota) else "true"
        return {"retry-after": str(wait), "x-should-retry": again}
    if isinstance(error, ReceiveTimeout):
        return {"connection": "close"}
    if isinstance(error, BudgetExhausted | DeadlineExceeded):
        return {"x-should-retry": "false"}
    return {"www-authenticate": "Bearer"} if status == 401 else {}  # noqa: PLR2004


def _wait_s(error: Exception) -> int | None:
    """Return after how many seconds a retry may succeed, None where nobody can say."""
    if isinstance(error, Overloaded):
        return max(1, round(error.retry_after_s))
    if isinstance(error, RateLimitExceeded):
        return error.retry_after_s
    if isinstance(error, TierUnavailable) and error.retry_after_s is not None:
        return max(1, ceil(error.retry_after_s))
    if isinstance(error, WorkerError):
        return None
    return next((seconds for kind, seconds in _RETRY_S if isinstance(error, kind)), None)
