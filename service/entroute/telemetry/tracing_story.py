"""What becomes the spans of one request, noted while it happens; no vendor's library is used.

A span's id must be known when a call is sent, since the worker is told of it; all else is put
together when the request has ended, from this and its `Trace`.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from entroute.protocols import Clock
from entroute.spans import CallSpan, NoStep, Step
from entroute.telemetry.tracing_context import SpanContext

CANCELLED = "cancelled"
"""Error of what was given up, by the client or because it was not needed any more."""

_WORTH_S = 1e-3  # a shorter step costs less than its span tells


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt at a call that failed.

    Attributes:
        at: Monotonic seconds.
        worker: URL.
        error: Name of the error.
    """

    at: float
    worker: str
    error: str


@dataclass(slots=True, eq=False)
class Span:
    """A call or a step.

    Attributes:
        context: As others know it.
        name: What was done; of a call the operation.
        started: Monotonic seconds.
        finished: Monotonic seconds, None while it runs.
        error: Name of the error that it ended with, or None.
        facts: What else is known, never written as it is: it may hold prompts.
    """

    context: SpanContext
    name: str
    started: float
    finished: float | None = None
    error: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def headers(self) -> Mapping[str, str]:
        """Sent along with what it asks of others."""
        self.facts["told"] = True
        return self.context.headers

    def note(self, **facts: Any) -> None:
        """Note what is known of it."""
        self.facts.update(facts)


@dataclass(slots=True, eq=False)
class Called(Span):
    """A call. See `CallSpan`.

    Attributes:
        number: That of its charge.
        model: What it asks for.
        worker: URL of the worker that has it, "" before.
        engine: What that runs, "" where unknown.
        failures: Attempts that failed.
        story: What it is part of.
        racer: Its twin, while both run.
        heir: The call that it goes on as: of a twin that won.
    """

    number: int = -1
    model: str = ""
    worker: str = ""
    engine: str = ""
    failures: list[Failure] = field(default_factory=list)
    story: "RequestStory | None" = None
    racer: "Called | None" = None
    heir: "Called | None" = None

    def asked(self, worker: str, engine: str) -> None:
        """Note the worker that it is put on. See `CallSpan`."""
        self.worker, self.engine = worker, engine

    def failed(self, error: Exception) -> None:
        """Note that this worker failed it. See `CallSpan`."""
        whose = self.heir or self
        whose.failures.append(Failure(self._now, whose.worker, type(error).__name__))

    def ended(self, error: BaseException | None = None) -> None:
        """Note that it has ended. See `CallSpan`."""
        self.finished = self._now
        self.error = None if error is None else name_of(error)

    def twin(self, number: int) -> CallSpan:
        """Begin a second call for the same answer. See `CallSpan`."""
        if self.story is None:
            raise RuntimeError("belongs to no request")
        self.racer = twin = self.story.call(number, self.name, self.model)
        twin.facts.update(self.facts)
        return twin

    def raced(self, *, won: bool) -> None:
        """Let the twin end, after it has taken this call's place if it won. See `CallSpan`."""
        lost, self.racer = self.racer, None
        if lost is None:
            return
        if won:
            lost.heir = self
            for name in ("context", "started", "worker", "engine", "failures"):
                ours, theirs = getattr(self, name), getattr(lost, name)
                setattr(self, name, theirs)
                setattr(lost, name, ours)
        lost.finished = lost._now  # noqa: SLF001 - of its own kind
        lost.error = lost.failures[-1].error if lost.failures else CANCELLED

    @property
    def _now(self) -> float:
        return self.started if self.story is None else self.story.clock()


class RequestStory:
    """The story of a request whose spans are recorded. See `entroute.priorities.Story`.

    Args:
        context: Of its own span.
        parent: The client's span that it goes on with, or None.
        link: The client's span that it only names, or None.
        clock: Monotonic seconds.
        epoch_ns: Nanoseconds since 1970 at 0 of that clock.
        new_id: Draws span ids.

    Attributes:
        context: Of its own span.
        parent: The client's span that it goes on with, or None.
        link: The client's span that it only names, or None.
        clock: Monotonic seconds.
        calls: In the order in which they began.
        steps: Likewise, those that took time.
        passages: Parts of the walk: name, begin and end in monotonic seconds.
    """

    def __init__(  # noqa: PLR0913 - all but three are its place among traces
        self,
        context: SpanContext,
        *,
        parent: SpanContext | None,
        link: SpanContext | None,
        clock: Clock,
        epoch_ns: int,
        new_id: Callable[[], int],
    ) -> None:
        self.context = context
        self.parent = parent
        self.link = link
        self.clock = clock
        self.calls: list[Called] = []
        self.steps: list[Span] = []
        self.passages: list[tuple[str, float, float]] = []
        self._epoch_ns = epoch_ns
        self._new_id = new_id

    @property
    def ids(self) -> Mapping[str, str]:
        """What log lines say of it."""
        return ids_of(self.context)

    def time_ns(self, seconds: float) -> int:
        """Return a monotonic time as nanoseconds since 1970."""
        return self._epoch_ns + round(seconds * 1e9)

    def call(self, number: int, operation: str, model: str) -> Called:
        """Begin a call. See `Story`."""
        called = Called(
            self._child(), operation, self.clock(), number=number, model=model, story=self
        )
        self.calls.append(called)
        return called

    @contextmanager
    def step(self, name: str, **facts: Any) -> Iterator[Step]:
        """Take a step. See `Story`."""
        span = Span(self._child(), name, self.clock(), facts=facts)
        try:
            yield span
        except BaseException as error:
            span.error = name_of(error)
            raise
        finally:
            span.finished = self.clock()
            long = span.finished - span.started >= _WORTH_S
            if long or span.error is not None or "told" in span.facts:
                self.steps.append(span)

    def passed(self, name: str, since: float, now: float) -> None:
        """Note a part of the walk. See `Story`."""
        self.passages.append((name, since, now))

    def forget(self) -> None:
        """Let go of all calls: in a cycle with them, prompts would wait for a full collection."""
        self.calls.clear()

    def _child(self) -> SpanContext:
        own = self.context
        return SpanContext(own.trace_id, self._new_id(), own.sampled, own.state)


class QuietStory:
    """The story of a request that is not recorded; whom it asks is told just that.

    Args:
        context: Of its own span.
    """

    def __init__(self, context: SpanContext) -> None:
        self._context = context

    @property
    def ids(self) -> Mapping[str, str]:
        """What log lines say of it."""
        return ids_of(self._context)

    def call(self, number: int, operation: str, model: str) -> CallSpan:
        """Begin a call. See `Story`."""
        return QuietStep(self._context.headers)

    def step(self, name: str, **facts: Any) -> AbstractContextManager[Step]:
        """Take a step. See `Story`."""
        return QuietStep(self._context.headers)

    def passed(self, name: str, since: float, now: float) -> None:
        """Forget it."""


class QuietStep(NoStep):
    """A call or a step of a request that is not recorded.

    Args:
        headers: Sent along.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.headers = headers

    def asked(self, worker: str, engine: str) -> None:
        """Forget it."""

    def failed(self, error: Exception) -> None:
        """Forget it."""

    def ended(self, error: BaseException | None = None) -> None:
        """Forget it."""

    def twin(self, number: int) -> CallSpan:
        """Return itself: there is no span to tell apart from another."""
        return self

    def raced(self, *, won: bool) -> None:
        """Forget it."""


def ids_of(context: SpanContext) -> Mapping[str, str]:
    """Return ids as log lines and backends write them."""
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def name_of(error: BaseException) -> str:
    """Return what an error is called in a trace: its class, never its words."""
    gone = isinstance(error, asyncio.CancelledError | GeneratorExit)
    return CANCELLED if gone else type(error).__name__
