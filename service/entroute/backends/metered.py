"""A backend that charges every call to a request's ledger, finished, failed or cancelled."""

from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from entroute.backends.pool import NobodyAsked
from entroute.calls import CallStream, spent_with
from entroute.errors import CallFailed, DeadlineExceeded, WorkerRejected
from entroute.evidence import Trace
from entroute.ledger import Ledger
from entroute.priorities import ANYBODY, Turn
from entroute.protocols import Backend, Clock
from entroute.spans import CallSpan
from entroute.spending import Usage
from entroute.types import Call, Completion, Delta

_FAILURES = (CallFailed, WorkerRejected, DeadlineExceeded)


class Stopwatch:
    """Adds up the time in which others are awaited, and that in which all upstream calls wait.

    A call that waits in a tier's queue is not upstream; while others are, the time is theirs.

    Args:
        trace: Its `upstream_s`, `queued_s` and `waits` are written.
        clock: Monotonic seconds.
    """

    def __init__(self, trace: Trace, clock: Clock) -> None:
        self._trace = trace
        self._clock = clock
        self._awaited = 0
        self._queued = 0
        self._since = 0.0

    def __enter__(self) -> None:
        self._count()
        self._awaited += 1

    def __exit__(self, *_: object) -> None:
        self._count()
        self._awaited -= 1

    def queued(self) -> None:
        """Note that one of the awaited calls begins to wait in a queue."""
        self._count()
        self._queued += 1

    def unqueued(self, tier: str, seconds: float) -> None:
        """Note that it waits no more, and for what it has waited so long."""
        self._count()
        self._queued -= 1
        self._trace.waits.append((tier, seconds))

    def span(self, number: int, operation: str, model: str, **facts: Any) -> CallSpan | None:
        """Begin the span of a call, None where the request is not traced."""
        story = self._trace.story
        if story is None:
            return None
        span = story.call(number, operation, model)
        span.note(**facts)
        return span

    def _count(self) -> None:
        """Add up the time since the last change."""
        now = self._clock()
        if self._awaited > self._queued:
            self._trace.upstream_s += now - self._since
        elif self._awaited:
            self._trace.queued_s += now - self._since
        self._since = now


@dataclass(slots=True)
class Spent:
    """What a call has spent so far; at first an attempt of which nothing is known.

    Attributes:
        stopwatch: Told of its time in queues.
        usage: What it has spent.
        unsent: Whether it waits in a queue and no worker has been asked yet.
        span: Shows it in a trace, None where there is none.
    """

    stopwatch: Stopwatch
    usage: Usage = field(default_factory=lambda: Usage(calls=1, partial_calls=1))
    unsent: bool = False
    span: CallSpan | None = None

    def answered(self, answer: Any, usage: Usage) -> None:
        """Note the whole answer of a worker."""
        self.usage = usage
        if self.span is not None:
            self.span.note(answer=answer)

    def ended(self, error: BaseException | None = None) -> None:
        """Note that it has ended, and how where it failed or was cancelled."""
        if self.span is not None:
            self.span.ended(error)

    def waits(self, *, sent: bool) -> None:
        """Note that it begins to wait. See `QueueWatch`."""
        self.unsent = not sent
        self.stopwatch.queued()

    def waited(self, tier: str, seconds: float, *, placed: bool) -> None:
        """Note that it waits no more. See `QueueWatch`."""
        self.unsent = self.unsent and not placed
        self.stopwatch.unqueued(tier, seconds)


class Metered:
    """Wraps a backend for one request.

    Args:
        backend: What answers.
        ledger: Where calls are committed; each call must have been reserved there.
        stopwatch: Shared by all backends of the request.
        salt: Keeps the tenant's prefix caches apart from others', "" for none.
        turn: How urgent its calls are, and whose.
        model: What its workers serve, as traces name it.
    """

    def __init__(  # noqa: PLR0913 - the last is keyword-only
        self,
        backend: Backend,
        ledger: Ledger,
        stopwatch: Stopwatch,
        salt: str = "",
        turn: Turn = ANYBODY,
        *,
        model: str = "",
    ) -> None:
        self._model = model
        self._turn = turn
        self._backend = backend
        self._salt = salt
        self._ledger = ledger
        self._stopwatch = stopwatch

    async def complete(self, call: Call) -> Completion:
        """Answer at once. See `Backend.complete`.

        A call that failed or was cancelled had sent nothing that could be counted; one that no
        worker was asked is no call. One that an earlier run has made asks nobody.
        """
        kept = self._ledger.taken(call)
        if kept is not None:
            return kept
        with self._charged(call, streamed=False) as spent:
            with self._stopwatch:
                completion = await self._backend.complete(self._placed(call, spent))
            spent.answered(completion, completion.usage)
        self._ledger.answered(call, completion)
        return completion

    async def stream(self, call: Call) -> CallStream:
        """Answer piece by piece. See `Backend.stream`.

        A cancelled call is charged what it had sent: the worker's continuous usage, else the
        log-probability entries, else the pieces. A finished call is charged before its completion
        is handed out, so that whoever sees the answer sees its price.
        """
        completion = self._ledger.taken(call)
        if completion is not None:
            for delta in _pieces(completion):
                yield delta
            yield completion
            return
        with self._charged(call, streamed=True) as spent:
            async with aclosing(self._backend.stream(self._placed(call, spent))) as pieces:
                while True:
                    with self._stopwatch:
                        piece = await anext(pieces, None)
                    if piece is None:
                        break
                    spent.usage = spent_with(spent.usage, piece)
                    self._ledger.note(call, spent.usage)
                    if isinstance(piece, Completion):
                        completion = piece
                        spent.answered(piece, piece.usage)
                    else:
                        yield piece
        if completion is not None:
            self._ledger.answered(call, completion)
            yield completion

    def _placed(self, call: Call, spent: Spent) -> Call:
        """Return a call as the backend is to know it: whose it is, and how urgent."""
        turn = replace(self._turn, watch=spent, span=spent.span)
        return replace(call, salt=self._salt, turn=turn)

    @contextmanager
    def _charged(self, call: Call, *, streamed: bool) -> Iterator[Spent]:
        """Settle a call when the block ends, however it does; what nobody was asked is no call."""
        operation = "chat" if call.request.prompt is None else "text_completion"
        facts = {"call": call, "streamed": streamed}
        span = self._stopwatch.span(call.id, operation, self._model, **facts)
        spent = Spent(self._stopwatch, span=span)
        try:
            yield spent
        except NobodyAsked:
            self._ledger.release(call)
            raise
        except BaseException as error:
            spent.ended(error)
            if spent.unsent:
                self._ledger.release(call)
                raise
            if isinstance(error, _FAILURES):
                self._ledger.mark(call, "discarded")
            self._ledger.commit(call, spent.usage)
            raise
        spent.ended()
        self._ledger.commit(call, spent.usage)


def _pieces(kept: Completion) -> Iterator[Delta]:
    """Yield a whole answer as its stream was: token by token where it is known token by token.

    So a rule that looks at a stream sees what it would have seen of a worker's.
    """
    extra = dict(kept.extra)
    if kept.tool_calls:
        extra["tool_calls"] = [{"index": i, **call} for i, call in enumerate(kept.tool_calls)]
    texts = [str(token.get("token")) for token in kept.logprobs]
    if not texts or "".join(texts) != kept.content:
        yield Delta(kept.content, 0, extra, kept.logprobs, kept.usage, kept.tier)
        return
    for made, (text, token) in enumerate(zip(texts, kept.logprobs, strict=True), start=1):
        usage = replace(kept.usage, completion_tokens=made)
        yield Delta(text, 0, extra, (token,), usage, kept.tier)
        extra = {}
