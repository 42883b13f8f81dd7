"""How urgent a call is, and whose it is: what decides who waits and who is let go under load."""

from dataclasses import dataclass
from typing import Literal, Protocol

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
    """

    priority: Priority = "normal"
    fair: str = ""
    watch: QueueWatch | None = None


ANYBODY = Turn()
"""The standing of a call that nobody said anything of."""
