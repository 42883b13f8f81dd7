"""The workers of a tier as one backend: pick one, try another before the first byte."""

from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from entroute.backends.http_worker import HttpWorker
from entroute.backends.member import Member
from entroute.backends.retrying import Retries
from entroute.backends.worker import Worker
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


@dataclass(slots=True)
class Errand(Generic[W]):
    """One call on its way through a pool.

    Attributes:
        deadline: Monotonic seconds.
        call: The call where it completes, for balancers; None where it embeds.
        tried: Workers that failed it, in order.
    """

    deadline: float
    call: Call | None = None
    tried: list[Member[W]] = field(default_factory=list)


class WorkerPool(Generic[W]):
    """The workers of one tier, whatever they are asked.

    Args:
        tier: The tier's name.
        workers: Its workers; none where they are yet to be discovered.
        balancer: Picks among those that may be called.
        retries: What is tried again.

    Attributes:
        members: Its workers as they are now.
        attempts_by_outcome: Attempts so far by how they ended.
    """

    def __init__(
        self,
        tier: str,
        workers: Sequence[W],
        balancer: Balancer,
        *,
        retries: Retries | None = None,
    ) -> None:
        self.tier = tier
        self.members: tuple[Member[W], ...] = tuple(Member(worker) for worker in workers)
        self.attempts_by_outcome: Counter[str] = Counter()
        self._balancer = balancer
        self._retries = retries or Retries()

    def replace(self, members: Iterable[Member[W]]) -> None:
        """Take these workers in place of those it has; running calls of others go on."""
        self.members = tuple(members)

    @property
    def available(self) -> bool:
        """Whether any worker may be called."""
        return any(member.callable for member in self.members)

    @property
    def context_length(self) -> int | None:
        """The least context length that the workers told, None if none did."""
        told = [m.context_length for m in self.members if m.context_length is not None]
        return min(told, default=None)

    @property
    def load(self) -> TierLoad:
        """What the tier is busy with, as this gateway sees it."""
        return TierLoad(
            in_flight=sum(member.in_flight for member in self.members),
            workers=len(self.members),
            healthy=sum(member.callable for member in self.members),
        )

    async def asked(self, ask: Callable[[W], Awaitable[A]], errand: Errand[W]) -> A:
        """Return what a worker answers at once, another one's where the first fails.

        Raises:
            CallFailed, WorkerRejected, DeadlineExceeded: No worker answers.
        """
        while True:
            member = self._pick(errand)
            try:
                with self._attempt(member):
                    answer = await ask(member.worker)
            except _FAILURES as error:
                self._failed(member, error, errand, begun=False)
            else:
                return answer

    @contextmanager
    def _attempt(self, member: Member[W]) -> Generator[None]:
        """Tell a worker's member how an attempt at it ends, unless it fails.

        A failure is told by `_failed`, which knows whether an answer had begun.
        """
        member.begun()
        try:
            yield
        except _FAILURES:
            raise
        except BaseException:
            member.abandoned()
            raise
        member.succeeded()
        self.attempts_by_outcome["ok"] += 1

    def _pick(self, errand: Errand[W]) -> Member[W]:
        candidates = [m for m in self.members if m.callable and m not in errand.tried]
        if not candidates:
            # Nobody was tried before: `_failed` raises unless somebody is left to be picked.
            raise NobodyAsked(self.tier, "; ".join(m.detail for m in self.members if m.detail))
        return candidates[self._balancer.pick(candidates, errand.call)]

    def _failed(
        self, member: Member[W], error: Exception, errand: Errand[W], *, begun: bool
    ) -> None:
        """Note a failed attempt; raise unless another worker may be tried.

        What a worker rejects, every worker rejects; after the first piece nothing can be retried.
        """
        self.attempts_by_outcome[type(error).__name__] += 1
        member.failed(error, begun=begun)
        errand.tried.append(member)
        final = isinstance(error, WorkerRejected | DeadlineExceeded) or begun
        left = any(m.callable and m not in errand.tried for m in self.members)
        if not final and left and len(errand.tried) < self._retries.attempts:
            return
        if isinstance(error, WorkerBusy):
            raise Overloaded(str(error), retry_after_s=error.retry_after_s) from error
        if isinstance(error, WorkerUnavailable) and not begun:
            raise TierUnavailable(self.tier, str(error)) from error
        raise error


class Pool(WorkerPool[Worker]):
    """The workers of a tier that completes. See `WorkerPool`."""

    async def complete(self, call: Call) -> Completion:
        """Answer at once. See `Backend.complete`."""
        errand: Errand[Worker] = Errand(call.deadline, call)
        return await self.asked(lambda worker: worker.complete(call), errand)

    async def stream(self, call: Call) -> CallStream:
        """Answer piece by piece, on another worker if one fails before its first piece."""
        errand: Errand[Worker] = Errand(call.deadline, call)
        while True:
            member = self._pick(errand)
            begun = False
            try:
                with self._attempt(member):
                    async with aclosing(member.worker.stream(call)) as pieces:
                        async for piece in pieces:
                            begun = True
                            yield piece
            except _FAILURES as error:
                self._failed(member, error, errand, begun=begun)
            else:
                return
