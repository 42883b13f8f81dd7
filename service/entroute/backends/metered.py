"""A backend that charges every call to a request's ledger, finished, failed or cancelled."""

from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field

from entroute.backends.pool import NobodyAsked
from entroute.calls import CallStream, spent_with
from entroute.errors import CallFailed, DeadlineExceeded, WorkerRejected
from entroute.evidence import Trace
from entroute.ledger import Ledger
from entroute.protocols import Backend, Clock
from entroute.spending import Usage
from entroute.types import Call, Completion

_FAILURES = (CallFailed, WorkerRejected, DeadlineExceeded)


class Stopwatch:
    """Adds up the time in which at least one upstream call is awaited.

    Args:
        trace: Its `upstream_s` is written.
        clock: Monotonic seconds.
    """

    def __init__(self, trace: Trace, clock: Clock) -> None:
        self._trace = trace
        self._clock = clock
        self._awaited = 0
        self._since = 0.0

    def __enter__(self) -> None:
        if self._awaited == 0:
            self._since = self._clock()
        self._awaited += 1

    def __exit__(self, *_: object) -> None:
        self._awaited -= 1
        if self._awaited == 0:
            self._trace.upstream_s += self._clock() - self._since


@dataclass(slots=True)
class _Spent:
    """What a call has spent so far; at first an attempt of which nothing is known."""

    usage: Usage = field(default_factory=lambda: Usage(calls=1, partial_calls=1))


class Metered:
    """Wraps a backend for one request.

    Args:
        backend: What answers.
        ledger: Where calls are committed; each call must have been reserved there.
        stopwatch: Shared by all backends of the request.
    """

    def __init__(self, backend: Backend, ledger: Ledger, stopwatch: Stopwatch) -> None:
        self._backend = backend
        self._ledger = ledger
        self._stopwatch = stopwatch

    async def complete(self, call: Call) -> Completion:
        """Answer at once. See `Backend.complete`.

        A call that failed or was cancelled had sent nothing that could be counted; one that no
        worker was asked is no call.
        """
        with self._charged(call) as spent:
            with self._stopwatch:
                completion = await self._backend.complete(call)
            spent.usage = completion.usage
        return completion

    async def stream(self, call: Call) -> CallStream:
        """Answer piece by piece. See `Backend.stream`.

        A cancelled call is charged what it had sent: the worker's continuous usage, else the
        log-probability entries, else the pieces. A finished call is charged before its completion
        is handed out, so that whoever sees the answer sees its price.
        """
        completion: Completion | None = None
        with self._charged(call) as spent:
            async with aclosing(self._backend.stream(call)) as pieces:
                while True:
                    with self._stopwatch:
                        piece = await anext(pieces, None)
                    if piece is None:
                        break
                    spent.usage = spent_with(spent.usage, piece)
                    self._ledger.note(call, spent.usage)
                    if isinstance(piece, Completion):
                        completion = piece
                    else:
                        yield piece
        if completion is not None:
            yield completion

    @contextmanager
    def _charged(self, call: Call) -> Iterator[_Spent]:
        """Settle a call when the block ends, however it does; a call nobody was asked is none."""
        spent = _Spent()
        try:
            yield spent
        except NobodyAsked:
            self._ledger.release(call)
            raise
        except BaseException as error:
            if isinstance(error, _FAILURES):
                self._ledger.mark(call, "discarded")
            self._ledger.commit(call, spent.usage)
            raise
        self._ledger.commit(call, spent.usage)
