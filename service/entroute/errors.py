"""Everything that can go wrong, as one tree.

    EntrouteError
    ├── ConfigurationError       a setting is wrong; the message names its path
    ├── WeightsError             model weights are missing, damaged or cannot be fetched
    ├── EngineError              a local engine could not be started, or died
    ├── ServerProcessFailed      one of several server processes could not be started
    ├── DiscoveryFailed          a tier's workers cannot be found now; the known ones stay
    ├── StoreUnavailable         shared state cannot be had in its budget; go on without
    │   └── WrongKind            a key holds what somebody else put there
    ├── KeysUnavailable          503: no API keys could be read yet; nobody is told apart
    ├── RequestError             the client's request; `param` names the field
    │   ├── InvalidRequest       400
    │   │   └── ContextLengthExceeded
    │   ├── AuthenticationFailed 401
    │   ├── PermissionDenied     403
    │   ├── NotFound             404
    │   ├── RateLimitExceeded    429: a limit of the API key is used up for a moment
    │   │   └── InsufficientQuota    for the rest of the month
    │   ├── ReceiveTimeout       408
    │   ├── RequestTooLarge      413
    │   └── HeadersTooLarge      431
    ├── ShuttingDown             503: the server leaves, and the request did not end in time
    ├── LimitsUnavailable        nobody can say what is left of an API key's limits
    ├── BudgetExhausted          a hard limit of this request is spent; `limit` names it
    ├── DeadlineExceeded         time is up and there is no candidate to return
    ├── WorkerRejected           a worker found the client's request wrong (4xx), in its words
    └── CallFailed               an upstream call failed; another tier or worker may do better
        ├── Overloaded           no room now; `retry_after_s` says when to come back
        ├── TierUnavailable      no worker of a tier can be reached
        └── WorkerError          one call to one worker failed; `worker` names it
            ├── WorkerUnavailable    refused or reset
            ├── WorkerFailed         answered 5xx, or broke off its answer
            ├── WorkerTimeout        connect, first_token, between_tokens or total
            ├── WorkerBusy           429 or 503 with Retry-After
            ├── WorkerMisconfigured  401, 403 or 404: the operator's fault, never the client's
            └── WorkerProtocolError  an answer that is not OpenAI's wire format

Statuses are given in `entroute.api.errors` and nowhere else.
"""

from typing import Literal


class EntrouteError(Exception):
    """Base of every error that entroute raises on purpose."""


class ConfigurationError(EntrouteError):
    """A setting is wrong; the message names its path."""


class WeightsError(EntrouteError):
    """Model weights are missing, damaged or cannot be fetched."""


class EngineError(EntrouteError):
    """A local engine could not be started, or died."""


class DiscoveryFailed(EntrouteError):
    """A tier's workers cannot be found now; the message says why."""


class ServerProcessFailed(EntrouteError):
    """One of several server processes could not be started.

    Attributes:
        code: The exit status that says so.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class StoreUnavailable(EntrouteError):
    """Shared state cannot be read or written within its budget."""


class WrongKind(StoreUnavailable):
    """A key holds a value of another kind than the one asked for: somebody else put it there."""


class KeysUnavailable(EntrouteError):
    """The API keys cannot be read yet, so nobody can be told from a stranger."""


class SandboxUnavailable(EntrouteError):
    """The sandbox could not run a program at all; that says nothing of the program."""


class RequestError(EntrouteError):
    """The client's request cannot be served as it is.

    Attributes:
        message: What is wrong and what to do, for the client to read.
        param: Path of the field at fault, as the client wrote it, or None.
        code: OpenAI's machine-readable code, or None.
    """

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code


class InvalidRequest(RequestError):
    """A field is missing, of the wrong type, out of range or unknown."""


class ContextLengthExceeded(InvalidRequest):
    """The prompt fits the context of no tier that may answer it."""


class AuthenticationFailed(RequestError):
    """The API key is missing, unknown or expired."""


class PermissionDenied(RequestError):
    """The principal may not use what it asked for."""


class NotFound(RequestError):
    """The model or the path does not exist."""


class RateLimitExceeded(RequestError):
    """A limit of the API key is used up.

    Attributes:
        rate: The limit, such as `tokens_per_minute`.
        dimension: What it is of, OpenAI's type: requests, tokens or cost.
        retry_after_s: Seconds after which there is room again, at the latest.
    """

    def __init__(self, message: str, *, rate: str, dimension: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.rate = rate
        self.dimension = dimension
        self.retry_after_s = retry_after_s


class InsufficientQuota(RateLimitExceeded):
    """A limit of the API key is used up for the rest of the month."""


class ReceiveTimeout(RequestError):
    """The request did not arrive in time."""


class RequestTooLarge(RequestError):
    """The body is larger than the server accepts."""


class HeadersTooLarge(RequestError):
    """The headers are larger than the server accepts."""


class ShuttingDown(EntrouteError):
    """The server leaves, and the request did not end in the time it had."""

    def __init__(self) -> None:
        super().__init__("The server is shutting down; retry, another one answers.")


class LimitsUnavailable(EntrouteError):
    """What is left of an API key's limits cannot be known, and nothing is let in without."""

    def __init__(self) -> None:
        super().__init__("What is left of your key's limits cannot be known now; retry later.")


Limit = Literal["max_calls", "max_generated_tokens", "max_cost_usd", "deadline"]


class BudgetExhausted(EntrouteError):
    """A hard limit of this request does not allow the next call."""

    def __init__(self, limit: Limit) -> None:
        super().__init__(f"the request's budget is spent: {limit}")
        self.limit = limit


class DeadlineExceeded(EntrouteError):
    """The deadline passed before there was any candidate to return."""


class CallFailed(EntrouteError):
    """An upstream call failed; another tier or worker may do better."""


class Overloaded(CallFailed):
    """There is no room for the request now.

    Attributes:
        retry_after_s: Seconds after which a retry may succeed.
    """

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TierUnavailable(CallFailed):
    """No worker of a tier can be reached.

    Attributes:
        tier: The tier.
        retry_after_s: Seconds after which one may be, None where nobody can say.
    """

    def __init__(self, tier: str, detail: str = "", *, retry_after_s: float | None = None) -> None:
        super().__init__(f"no worker of tier '{tier}' can be reached" + (detail and f": {detail}"))
        self.tier = tier
        self.retry_after_s = retry_after_s


class WorkerError(CallFailed):
    """One call to one worker failed.

    Attributes:
        worker: The worker's id.
        detail: What happened, without secrets.
        broke_off_on: Tier whose worker broke off an answer that it had begun, "" where none had.
    """

    def __init__(self, worker: str, detail: str) -> None:
        super().__init__(worker, detail)
        self.worker = worker
        self.detail = detail
        self.broke_off_on = ""

    def __str__(self) -> str:
        return f"worker {self.worker}: {self.detail}"


class WorkerUnavailable(WorkerError):
    """The worker refused the connection, or reset it before it answered.

    Attributes:
        refused: Whether no connection came to stand: nobody listens there.
    """

    def __init__(self, worker: str, detail: str, *, refused: bool = False) -> None:
        super().__init__(worker, detail)
        self.refused = refused


class WorkerFailed(WorkerError):
    """The worker answered 5xx or broke off: this request failed, the next one need not.

    Attributes:
        broke_off: Whether the connection broke in the middle of its answer.
    """

    def __init__(self, worker: str, detail: str, *, broke_off: bool = False) -> None:
        super().__init__(worker, detail)
        self.broke_off = broke_off


Phase = Literal["connect", "first_token", "between_tokens", "total"]


class WorkerTimeout(WorkerError):
    """The worker was too slow in one phase of a call."""

    def __init__(self, worker: str, phase: Phase, limit_s: float) -> None:
        super().__init__(worker, f"timeout: {phase} took longer than {limit_s:g} s")
        self.phase = phase


class WorkerBusy(WorkerError):
    """The worker has no room; another one may.

    Attributes:
        retry_after_s: Seconds the worker asked for, 1 if it did not say.
    """

    def __init__(self, worker: str, detail: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(worker, detail)
        self.retry_after_s = retry_after_s


class WorkerMisconfigured(WorkerError):
    """The worker answered 401, 403 or 404: its key, address or model name is wrong."""


class WorkerProtocolError(WorkerError):
    """The worker's answer is not OpenAI's wire format."""


class WorkerRejected(EntrouteError):
    """A worker found the client's request wrong; every worker would.

    Attributes:
        worker: The worker's id.
        message: The worker's words.
        status: The worker's status, 400 to 499.
        param: The field the worker named, or None.
        code: The worker's machine-readable code, or None.
    """

    def __init__(
        self, worker: str, message: str, *, status: int, param: str | None, code: str | None
    ) -> None:
        super().__init__(f"worker {worker} rejected the request: {message}")
        self.worker = worker
        self.message = message
        self.status = status
        self.param = param
        self.code = code

    @property
    def out_of_context(self) -> bool:
        """Whether the prompt does not fit this worker; a larger context may hold it."""
        return self.code == "context_length_exceeded"
