"""One call on its way through a pool: who has failed it, and whom it may not be put on."""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from entroute.backends.http_worker import HttpWorker
from entroute.backends.member import Member
from entroute.backends.outliers import TimesKey
from entroute.priorities import ANYBODY, Turn
from entroute.types import Call

W = TypeVar("W", bound=HttpWorker)


@dataclass(slots=True)
class Errand(Generic[W]):
    """One call on its way through a pool.

    Attributes:
        deadline: Monotonic seconds.
        call: The call where it completes, for balancers; None where it embeds.
        turn: How urgent it is, and whose.
        tried: Workers that failed it, in order, and are not to be asked again.
        attempts: How often it has failed.
        repeated: Whether a worker that failed it was asked once more.
        failure: How it failed last, None where it has not.
    """

    deadline: float
    call: Call | None = None
    turn: Turn = ANYBODY
    tried: list[Member[W]] = field(default_factory=list)
    attempts: int = 0
    repeated: bool = False
    failure: Exception | None = None

    @property
    def asked(self) -> bool:
        """Whether a worker was asked before."""
        return self.attempts > 0

    @property
    def hedges(self) -> bool:
        """Whether it is a second call for an answer, and was not put on a worker yet."""
        call = self.call
        if call is None or call.placement is None or self.asked:
            return False
        return any(asker != call.id for asker in call.placement.asked)

    def compared(self, *, stream: bool) -> TimesKey:
        """Return what its time to answer may be compared with: prompts within a factor of four."""
        size = 0 if self.call is None else len(self.call.request.text)
        return stream, size.bit_length() // 2

    def shuns(self, member: Member[W]) -> bool:
        """Whether a worker has failed it, or is asked by a call that races it."""
        call = self.call
        if call is None or call.placement is None:
            return member in self.tried
        return member in self.tried or call.placement.taken(member.url, call.id)

    def goes_to(self, member: Member[W]) -> None:
        """Note which worker it is put on, for calls that race it."""
        if self.call is not None and self.call.placement is not None:
            self.call.placement.asked[self.call.id] = member.url
        if self.turn.span is not None:
            self.turn.span.asked(member.url, member.worker.engine)

    def failed(self, member: Member[W], error: Exception) -> None:
        """Note that an attempt failed."""
        self.tried.append(member)
        self.attempts += 1
        self.failure = error
        if self.turn.span is not None:
            self.turn.span.failed(error)

    def goes_back_to(self, member: Member[W]) -> None:
        """Note that a worker which failed it is asked once more, as no other is left."""
        self.tried.remove(member)
        self.repeated = True
