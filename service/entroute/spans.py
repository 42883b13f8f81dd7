"""What a request tells of itself for a trace, free of whoever writes traces."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any, Protocol

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class CallSpan(Protocol):
    """A call as a trace shows it, told what it meets on its way."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Sent along with it, so that whoever answers goes on with the trace."""
        ...

    def asked(self, worker: str, engine: str) -> None:
        """Note the URL of the worker that it is put on, and its engine, "" where unknown."""
        ...

    def failed(self, error: Exception) -> None:
        """Note that this worker failed it."""
        ...

    def note(self, **facts: Any) -> None:
        """Note what is known of it."""
        ...

    def ended(self, error: BaseException | None = None) -> None:
        """Note that it has ended, and how where it failed or was cancelled."""
        ...

    def twin(self, number: int) -> "CallSpan":
        """Begin the span of a second call for the same answer, of this number."""
        ...

    def raced(self, *, won: bool) -> None:
        """Note that the twin has ended; where it won, it goes on as this call."""
        ...


class Step(Protocol):
    """A step of a request as its trace shows it."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Sent along with what it asks of others."""
        ...

    def note(self, **facts: Any) -> None:
        """Note what is known of it."""
        ...


class NoStep:
    """A step of a request that is not traced; also a context of it."""

    headers = NO_HEADERS

    def __enter__(self) -> Step:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def note(self, **facts: Any) -> None:
        """Do nothing."""


NO_STEP = NoStep()


class Story(Protocol):
    """What becomes the spans of one request."""

    @property
    def ids(self) -> Mapping[str, str]:
        """What log lines say of it: `trace_id` and `span_id`."""
        ...

    def call(self, number: int, operation: str, model: str) -> CallSpan:
        """Begin a call to a worker; its number is that of its charge."""
        ...

    def step(self, name: str, **facts: Any) -> AbstractContextManager[Step]:
        """Return a context in which a step of its own is taken."""
        ...

    def passed(self, name: str, since: float, now: float) -> None:
        """Note a part of the walk between two monotonic seconds."""
        ...
