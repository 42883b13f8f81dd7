"""A backend that charges every call to a request's ledger, finished, failed or cancelled."""

from contextlib import aclosing

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
        spent = Usage(calls=1, partial_calls=1)
        try:
            with self._stopwatch:
                completion = await self._backend.complete(call)
            spent = completion.usage
        except NobodyAsked:
            spent = Usage()
            raise
        except _FAILURES:
            self._ledger.mark(call, "discarded")
            raise
        finally:
            self._settle(call, spent)
        return completion

    async def stream(self, call: Call) -> CallStream:
        """Answer piece by piece. See `Backend.stream`.

        A cancelled call is charged what it had sent: the worker's continuous usage, else the
        log-probability entries, else the pieces. A finished call is charged before its completion
        is handed out, so that whoever sees the answer sees its price.
        """
        spent = Usage(calls=1, partial_calls=1)
        completion: Completion | None = None
        try:
            async with aclosing(self._backend.stream(call)) as pieces:
                while True:
                    with self._stopwatch:
                        piece = await anext(pieces, None)
                    if piece is None:
                        break
                    spent = spent_with(spent, piece)
                    self._ledger.note(call, spent)
                    if isinstance(piece, Completion):
                        completion = piece
                    else:
                        yield piece
        except NobodyAsked:
            spent = Usage()
            raise
        except _FAILURES:
            self._ledger.mark(call, "discarded")
            raise
        finally:
            self._settle(call, spent)
        if completion is not None:
            yield completion

    def _settle(self, call: Call, spent: Usage) -> None:
        """Charge a call, or give it back where it was none."""
        if spent.calls:
            self._ledger.commit(call, spent)
        else:
            self._ledger.release(call)
