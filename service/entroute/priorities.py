"""How a call stands where calls wait: how urgent it is, whose, and who is told what it meets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from entroute.spans import NO_HEADERS, CallSpan

Priority = Literal["low", "normal", "high"]

PRIORITIES: tuple[Priority, ...] = ("low", "normal", "high")
"""Lowest first."""


def above(one: Priority, other: Priority) -> bool:
    """Whether one priority is higher than another."""
    return PRIORITIES.index(one) > PRIORITIES.index(other)


class QueueWatch(Protocol):
    """Is told of a call's time in a queue."""

    def waits(self, *, sent: bool) -> None:
        """Note that it begins to wait; `sent` where a worker was asked before."""
        ...

    def waited(self, tier: str, seconds: float, *, placed: bool) -> None:
        """Note that it has waited so long for a tier, and whether a worker is asked now."""
        ...


@dataclass(frozen=True, slots=True)
class Turn:
    """A call's standing where calls wait.

    Attributes:
        priority: Calls of a higher one go first.
        fair: Whose call it is: callers of one priority take turns.
        watch: Is told how it waits, None for nobody.
        span: Is told what it meets, None where it is not traced.
    """

    priority: Priority = "normal"
    fair: str = ""
    watch: QueueWatch | None = None
    span: CallSpan | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """What is sent along with the call."""
        return NO_HEADERS if self.span is None else self.span.headers


ANYBODY = Turn()
"""The standing of a call that nobody said anything of."""
