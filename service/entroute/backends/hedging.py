"""A second call to another worker where the first lets one wait; the first piece wins.

It cuts the tail of latencies that single workers cause, and it costs calls: so it is off unless it
is asked for, takes from the tier's retry budget, and is reserved and charged like any call.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from entroute.backends.pool import NobodyAsked
from entroute.backends.retrying import Retrying
from entroute.calls import CallStream, spent_with
from entroute.ledger import Ledger
from entroute.protocols import Backend
from entroute.spending import Usage
from entroute.types import Call, Completion, Delta, Placement

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Hedging:
    """When one tier's calls are hedged.

    Attributes:
        after_s: Seconds without a first piece, above 0.
        retrying: The tier's retries, whose budget hedges take from, and where they are counted.
    """

    after_s: float
    retrying: Retrying


@dataclass(slots=True)
class _Racer(Generic[A]):
    """One of two calls for the same answer.

    Attributes:
        call: As it is sent.
        start: Brings its first piece, or its whole answer.
        spent: What it has spent so far.
        unasked: Whether it was asked of no worker: there was none, or it was not begun.
    """

    call: Call
    start: Callable[["_Racer[A]"], Coroutine[Any, Any, A]]
    spent: Usage = field(default_factory=lambda: Usage(calls=1, partial_calls=1))
    unasked: bool = True

    async def run(self) -> A:
        self.unasked = False
        try:
            return await self.start(self)
        except NobodyAsked:
            self.unasked = True
            raise


class Hedged:
    """Wraps the backend of one tier for one request.

    The call that it is given is charged by whoever gave it, with what the winner spends; the loser
    is charged here, as discarded, whichever of both was first.

    Args:
        backend: What answers; it must heed `Call.placement`.
        ledger: Of the request.
        hedging: When.
    """

    def __init__(self, backend: Backend, ledger: Ledger, hedging: Hedging) -> None:
        self._backend = backend
        self._ledger = ledger
        self._hedging = hedging

    async def complete(self, call: Call) -> Completion:
        """Answer at once. See `Backend.complete`."""

        async def answered(racer: _Racer[Completion]) -> Completion:
            completion = await self._backend.complete(racer.call)
            racer.spent = completion.usage
            return completion

        _, completion = await self._raced(call, answered)
        return replace(completion, call_id=call.id)

    async def stream(self, call: Call) -> CallStream:
        """Answer piece by piece. See `Backend.stream`."""
        async with AsyncExitStack() as stack:
            streams: dict[int, CallStream] = {}

            async def begun(racer: _Racer[Delta | Completion]) -> Delta | Completion:
                stream = streams[racer.call.id] = self._backend.stream(racer.call)
                try:
                    piece = await anext(stream)
                except BaseException:
                    await stream.aclose()
                    raise
                stack.push_async_callback(stream.aclose)
                racer.spent = spent_with(racer.spent, piece)
                return piece

            winner, piece = await self._raced(call, begun)
            for other in streams.keys() - {winner.id}:
                await streams[other].aclose()
            async with aclosing(streams[winner.id]) as pieces:
                yield _as_of(call, piece)
                async for piece in pieces:
                    yield _as_of(call, piece)

    async def _raced(
        self, call: Call, start: Callable[[_Racer[A]], Coroutine[Any, Any, A]]
    ) -> tuple[Call, A]:
        """Return the call that was first, and what it brought; the other has ended then.

        Raises:
            CallFailed, WorkerRejected, DeadlineExceeded: What the first call failed of, where no
                other brought anything.
        """
        first = _Racer(replace(call, placement=Placement()), start)
        racers = [first]
        tasks = [asyncio.create_task(first.run())]
        won: _Racer[A] | None = None
        try:
            await self._patience(tasks[0], first.call)
            twin = None if tasks[0].done() else self._twin(first.call)
            if twin is not None:
                racers.append(_Racer(twin, start))
                tasks.append(asyncio.create_task(racers[1].run()))
            place = await _first_of(tasks)
            won = racers[place]
            return won.call, tasks[place].result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for twin_racer in racers[1:]:
                self._settle(first, twin_racer, won)

    async def _patience(self, task: "asyncio.Task[A]", call: Call) -> None:
        """Wait until a call brings something, or has brought nothing for long enough.

        While it waits in the tier's queue no worker is slow, and a second one would wait too.
        """
        placed = False
        await asyncio.sleep(0)  # where a worker has room, it is asked before this goes on
        while not (placed or task.done()):
            placed = call.placement is not None and bool(call.placement.asked)
            await asyncio.wait([task], timeout=self._hedging.after_s)

    def _twin(self, call: Call) -> Call | None:
        """Return a call for the same answer, reserved, or None where there can be none."""
        hedges = self._hedging.retrying.hedges
        twin = self._ledger.twin(call)
        if twin is None:
            hedges["no_room"] += 1
            return None
        if not self._hedging.retrying.budget.take():
            self._ledger.release(twin)
            hedges["budget"] += 1
            return None
        span = None if call.turn.span is None else call.turn.span.twin(twin.id)
        return replace(twin, turn=replace(twin.turn, watch=None, span=span))  # it never waits

    def _settle(self, first: _Racer[A], twin: _Racer[A], won: _Racer[A] | None) -> None:
        """Charge whichever lost; the winner's usage is the first call's to whoever gave it."""
        result = "won" if won is twin else "no_worker" if twin.unasked else "lost"
        self._hedging.retrying.hedges[result] += 1
        if first.call.turn.span is not None:
            first.call.turn.span.raced(won=won is twin)
        if twin.unasked:
            self._ledger.release(twin.call)
            return
        loser = first if won is twin else twin
        self._ledger.mark(twin.call, "discarded")
        self._ledger.commit(twin.call, loser.spent)


async def _first_of(tasks: list["asyncio.Task[A]"]) -> int:
    """Return the place of the first task that succeeds, 0 where none does."""
    pending = set(tasks)
    while pending:
        _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for place, task in enumerate(tasks):
            if task.done() and not task.cancelled() and task.exception() is None:
                return place
    return 0


def _as_of(call: Call, piece: Delta | Completion) -> Delta | Completion:
    """Return a piece as one of the call that was asked for."""
    return replace(piece, call_id=call.id) if isinstance(piece, Completion) else piece
