"""The workers of a tier as one backend: pick one, try another before the first byte."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from entroute.backends.http_worker import HttpWorker
from entroute.backends.worker import Worker
from entroute.calls import CallStream
from entroute.decisions import TierLoad
from entroute.errors import (
    DeadlineExceeded,
    Overloaded,
    TierUnavailable,
    WorkerBusy,
    WorkerError,
    WorkerMisconfigured,
    WorkerRejected,
    WorkerUnavailable,
)
from entroute.protocols import Balancer
from entroute.types import Call, Completion

W = TypeVar("W", bound=HttpWorker)
A = TypeVar("A")


class NobodyAsked(TierUnavailable):
    """Every worker of a tier was known to be dead: nothing was sent, nothing was spent."""


@dataclass(slots=True)
class Member(Generic[W]):
    """A worker and what is known of its health.

    Attributes:
        worker: The client.
        healthy: Whether it may be called.
        detail: Why not, in words.
        context_length: Tokens it can hold as it told, None if it did not.
    """

    worker: W
    healthy: bool = True
    detail: str = ""
    context_length: int | None = None

    @property
    def name(self) -> str:
        """Host and port, as metrics name it."""
        return urlsplit(self.worker.url).netloc

    @property
    def in_flight(self) -> int:
        """Calls of this gateway that the worker is answering."""
        return self.worker.in_flight


class WorkerPool(Generic[W]):
    """The workers of one tier, whatever they are asked.

    Args:
        tier: The tier's name.
        workers: At least one.
        balancer: Picks among the healthy.
        attempts: Most workers tried for one call, at least 1.
    """

    def __init__(
        self, tier: str, workers: Sequence[W], balancer: Balancer, *, attempts: int = 3
    ) -> None:
        self.tier = tier
        self.members = [Member(worker) for worker in workers]
        self.attempts_by_outcome: Counter[str] = Counter()
        self._balancer = balancer
        self._attempts = attempts

    @property
    def available(self) -> bool:
        """Whether any worker may be called."""
        return any(member.healthy for member in self.members)

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
            healthy=sum(member.healthy for member in self.members),
        )

    async def asked(self, ask: Callable[[W], Awaitable[A]]) -> A:
        """Return what a worker answers at once, another one's where the first fails.

        Raises:
            CallFailed, WorkerRejected, DeadlineExceeded: No worker answers.
        """
        tried: list[Member[W]] = []
        while True:
            member = self._pick(tried)
            try:
                answer = await ask(member.worker)
            except (WorkerError, WorkerRejected, DeadlineExceeded) as error:
                self._failed(member, error, tried)
            else:
                self.attempts_by_outcome["ok"] += 1
                return answer

    def _pick(self, tried: Sequence[Member[W]]) -> Member[W]:
        candidates = [m for m in self.members if m.healthy and m not in tried]
        if not candidates:
            # Nobody was tried before: `_failed` raises unless somebody is left to be picked.
            raise NobodyAsked(self.tier, "; ".join(m.detail for m in self.members if m.detail))
        return candidates[self._balancer.pick(candidates)]

    def _failed(
        self, member: Member[W], error: Exception, tried: list[Member[W]], *, begun: bool = False
    ) -> None:
        """Note a failed attempt; raise unless another worker may be tried.

        What a worker rejects, every worker rejects; after the first piece nothing can be retried.
        """
        self.attempts_by_outcome[type(error).__name__] += 1
        if isinstance(error, WorkerUnavailable | WorkerMisconfigured) and not begun:
            member.healthy, member.detail = False, str(error)
        tried.append(member)
        final = isinstance(error, WorkerRejected | DeadlineExceeded) or begun
        left = [m for m in self.members if m.healthy and m not in tried]
        if not final and left and len(tried) < self._attempts:
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
        return await self.asked(lambda worker: worker.complete(call))

    async def stream(self, call: Call) -> CallStream:
        """Answer piece by piece, on another worker if one fails before its first piece."""
        tried: list[Member[Worker]] = []
        while True:
            member = self._pick(tried)
            begun = False
            try:
                async with aclosing(member.worker.stream(call)) as pieces:
                    async for piece in pieces:
                        begun = True
                        yield piece
            except (WorkerError, WorkerRejected, DeadlineExceeded) as error:
                self._failed(member, error, tried, begun=begun)
            else:
                self.attempts_by_outcome["ok"] += 1
                return
