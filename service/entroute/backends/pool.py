"""The workers of a tier as one backend: pick one, try another before the first byte."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import aclosing, contextmanager
from typing import Generic, TypeVar

from entroute.backends.errand import Errand
from entroute.backends.http_worker import HttpWorker
from entroute.backends.member import Attempt, Care, Member
from entroute.backends.outliers import Outliers, TimesKey
from entroute.backends.queueing import Room, TierQueue
from entroute.backends.retrying import Failed, Retrying
from entroute.backends.worker import Worker
from entroute.backends.worker_load import kv_use, waiting
from entroute.calls import CallStream
from entroute.decisions import TierLoad
from entroute.errors import (
    DeadlineExceeded,
    Overloaded,
    TierUnavailable,
    WorkerBusy,
    WorkerError,
    WorkerRejected,
    WorkerUnavailable,
)
from entroute.protocols import Balancer
from entroute.types import Call, Completion

W = TypeVar("W", bound=HttpWorker)
A = TypeVar("A")

_FAILURES = (WorkerError, WorkerRejected, DeadlineExceeded)


class NobodyAsked(TierUnavailable):
    """Every worker of a tier was known to be dead: nothing was sent, nothing was spent."""


class WorkerPool(Generic[W]):
    """The workers of one tier, whatever they are asked.

    Args:
        tier: The tier's name.
        workers: Its workers; none where they are yet to be discovered.
        balancer: Picks among those that may be called.
        retrying: What is tried again, and when.
        care: How workers that fail are spared.
        room: How many calls they are given at once, and how many wait.

    Attributes:
        members: Its workers as they are now.
        queue: Where calls wait while all workers are full.
        retrying: What is tried again, and when.
        outliers: Ejects those that do worse than the others.
        attempts_by_outcome: Attempts so far by how they ended.
        searched: Where its workers are searched, and why there may be none; "" where they are
            configured.
    """

    def __init__(  # noqa: PLR0913 - what a tier is made of
        self,
        tier: str,
        workers: Sequence[W],
        balancer: Balancer,
        *,
        retrying: Retrying | None = None,
        care: Care | None = None,
        room: Room | None = None,
    ) -> None:
        self.tier = tier
        self._room = room or Room()
        self.queue: TierQueue[Errand[W], Member[W]] = TierQueue(
            tier, self, self._room.queue, self._room.clock
        )
        self.care = care or Care()
        self.outliers = Outliers(self.care.outliers)
        self.members: tuple[Member[W], ...] = tuple(map(self.member, workers))
        self.attempts_by_outcome: Counter[str] = Counter()
        self.searched = ""
        self._balancer = balancer
        self.retrying = retrying or Retrying()

    def member(self, worker: W) -> Member[W]:
        """Return a worker as one of its members, which `replace` then takes."""
        return Member(worker, self.care)

    def replace(self, members: Iterable[Member[W]]) -> None:
        """Take these workers in place of those it has; running calls of others go on."""
        gone, self.members = self.members, tuple(members)
        for url in {member.url for member in gone} - {member.url for member in self.members}:
            self._balancer.forget(url)
        self.queue.look()

    @property
    def available(self) -> bool:
        """Whether any worker may be called."""
        return any(member.admits for member in self.members)

    @property
    def ejections(self) -> Mapping[str, int]:
        """Ejections of its workers so far, by reason."""
        return self.outliers.ejections

    @property
    def context_length(self) -> int | None:
        """The least context length that the workers told, None if none did."""
        told = [m.context_length for m in self.members if m.context_length is not None]
        return min(told, default=None)

    @property
    def load(self) -> TierLoad:
        """What the tier is busy with, as this gateway sees it and as its workers said."""
        loads = [m.load for m in self.members if m.load is not None]
        return TierLoad(
            in_flight=sum(member.in_flight for member in self.members),
            workers=len(self.members),
            healthy=sum(m.callable for m in self.members) or sum(m.admits for m in self.members),
            waiting=waiting(loads),
            queued=self.queue.waiting,
            capacity=self._room.max_in_flight * sum(m.admits for m in self.members),
            kv_use=kv_use(loads),
        )

    async def asked(self, ask: Callable[[W], Awaitable[A]], errand: Errand[W]) -> A:
        """Return what a worker answers at once, another one's where the first fails.

        Raises:
            CallFailed, WorkerRejected, DeadlineExceeded: No worker answers.
        """
        while True:
            member = await self._placed(errand)
            try:
                with self._attempt(member, errand.compared(stream=False)):
                    answer = await ask(member.worker)
            except _FAILURES as error:
                pause = self._failed(member, error, errand, begun=False)
            else:
                self.retrying.ended("ok", errand.attempts)
                return answer
            await asyncio.sleep(pause)

    async def _placed(self, errand: Errand[W]) -> Member[W]:
        """Return the worker that a call gets, once one has room; a hedge does not wait for it.

        Raises:
            TierUnavailable, Overloaded, DeadlineExceeded: None has, or too late.
        """
        if errand.hedges and (self.queue.waiting or not self.room(errand)):
            raise NobodyAsked(self.tier, "no other worker has room")
        return await self.queue.place(errand)

    @contextmanager
    def _attempt(self, member: Member[W], compared: TimesKey) -> Generator[Attempt]:
        """Tell a worker's member how an attempt at it ends.

        Whoever has the whole answer may leave before the stream's end: that is a success too.
        """
        attempt = member.begun(compared)
        try:
            yield attempt
        except _FAILURES as error:
            member.failed(attempt, error)
            raise
        except BaseException:
            (member.succeeded if attempt.whole else member.abandoned)(attempt)
            raise
        else:
            member.succeeded(attempt)
            self.attempts_by_outcome["ok"] += 1
        finally:
            self.left(member)
            self.queue.freed()
            self.outliers.compare(self.members, member.worker.clock())

    @property
    def wait_s(self) -> float | None:
        """Seconds until a worker may be called again, 0 or more; None where nobody can say."""
        return min((m.wait_s for m in self.members if m.wait_s is not None), default=None)

    def _left(self, errand: Errand[W]) -> list[Member[W]]:
        """Return the workers that a call may go to, in the best standing that any is left in.

        Workers that said they are busy are asked after the others. An ejection says that a worker
        does worse than others: where no other is left it is ignored, as bad answers are better
        than none. An open breaker says that it does not answer at all: it is respected, as asking
        would cost time, and the worker its recovery, for nothing.
        """
        left = [m for m in self.members if m.admits and not errand.shuns(m)]
        well = [m for m in left if not m.ejected]
        return [m for m in well if not m.resting] or well or left

    @property
    def any_room(self) -> bool:
        """Whether any worker has room. See `Doors`."""
        return any(m.in_flight < self._room.max_in_flight and m.admits for m in self.members)

    def room(self, errand: Errand[W]) -> list[Member[W]]:
        """Return the workers that a call may go to now. See `Doors.room`.

        A worker in better standing that is full is waited for.
        """
        candidates = self._left(errand)
        if not candidates and errand.failure is not None:  # whoever was left is gone meanwhile
            raise self._standing(errand.failure, begun=False)
        if not candidates:
            raise NobodyAsked(
                self.tier,
                "; ".join(filter(None, (m.why for m in self.members))) or self.searched,
                retry_after_s=self.wait_s,
            )
        return [m for m in candidates if m.in_flight < self._room.max_in_flight]

    def take(self, errand: Errand[W], among: Sequence[Member[W]]) -> Member[W]:
        """Take a place in the worker that the balancer picks."""
        member = among[self._balancer.pick(among, errand.call)]
        member.places += 1
        errand.goes_to(member)
        if not (errand.asked or errand.hedges):
            self.retrying.budget.put()
        return member

    def left(self, member: Member[W]) -> None:
        """Give a place back."""
        member.places -= 1

    def _failed(
        self, member: Member[W], error: Exception, errand: Errand[W], *, begun: bool
    ) -> float:
        """Note a failed attempt; return the seconds until the next, or raise where it stands.

        After the first piece nothing is tried again here: somebody may have read it.
        """
        self.attempts_by_outcome[type(error).__name__] += 1
        self.retrying.ended("failed", errand.attempts)
        errand.failed(member, error)
        elsewhere = bool(self._left(errand))
        again = not elsewhere and member.admits and not errand.repeated
        failed = Failed(error, errand.attempts, elsewhere, again, errand.deadline)
        pause = None if begun else self.retrying.pause(failed)
        if pause is None:
            raise self._standing(error, begun=begun)
        if not elsewhere:
            errand.goes_back_to(member)
        return pause

    def _standing(self, error: Exception, *, begun: bool) -> Exception:
        """Return what a failed attempt is to whoever called the tier."""
        stands = error
        if isinstance(error, WorkerError) and begun:
            error.broke_off_on = self.tier
        elif isinstance(error, WorkerBusy):
            stands = Overloaded(str(error), retry_after_s=error.retry_after_s)
        elif isinstance(error, WorkerUnavailable):
            stands = TierUnavailable(self.tier, str(error), retry_after_s=self.wait_s)
        if stands is not error:
            stands.__cause__ = error
        return stands


class Pool(WorkerPool[Worker]):
    """The workers of a tier that completes. See `WorkerPool`."""

    async def complete(self, call: Call) -> Completion:
        """Answer at once. See `Backend.complete`."""
        errand: Errand[Worker] = Errand(call.deadline, call, call.turn)
        return await self.asked(lambda worker: worker.complete(call), errand)

    async def stream(self, call: Call) -> CallStream:
        """Answer piece by piece, on another worker if one fails before its first piece."""
        errand: Errand[Worker] = Errand(call.deadline, call, call.turn)
        while True:
            member = await self._placed(errand)
            begun = False
            try:
                with self._attempt(member, errand.compared(stream=True)) as attempt:
                    async with aclosing(member.worker.stream(call)) as pieces:
                        async for piece in pieces:
                            begun = True
                            member.answering(attempt, whole=isinstance(piece, Completion))
                            yield piece
            except _FAILURES as error:
                pause = self._failed(member, error, errand, begun=begun)
            else:
                self.retrying.ended("ok", errand.attempts)
                return
            await asyncio.sleep(pause)
