"""Leases: how gateways share a key's limits without asking for every request.

Each gateway says what it has spent in the window so far and is told how much it may have spent in
all: its cap. The caps of all gateways never exceed the limit together. What is said is a state,
not a change, and numbered: saying it twice, late or out of order charges nothing twice and loses
nothing. A cap ends with its lease, what has been spent stays.
"""

from dataclasses import dataclass
from typing import Protocol

from entroute.tenants.limits import UNLIMITED, Amounts

LEASE_MS = 10_000
"""Milliseconds a cap holds unless it is renewed."""

FOLD_MS = 86_400_000
"""Milliseconds of silence after which a gateway's own line is folded into the sum."""

_FAIR_SHARE = 4
"""A gateway is given no more at once than this part of its share of what is left."""


@dataclass(frozen=True, slots=True)
class Share:
    """One window as a gateway sees it.

    Attributes:
        start: Begin of the window that `spent` is of, in ms since the epoch; 0 before any.
        limits: Of the key.
        spent: What the gateway has spent in it, reservations included.
        keep: The cap it holds on to until it hears more.
        need: What the requests that wait need at once.
        want: What it would spend in the next seconds at its pace.
    """

    start: int
    limits: Amounts
    spent: Amounts
    keep: Amounts
    need: Amounts
    want: Amounts


@dataclass(frozen=True, slots=True)
class Report:
    """What a gateway says of one key.

    Attributes:
        member: Names the gateway's line in the books.
        number: Higher than that of every report before it.
        shares: One a window.
    """

    member: str
    number: int
    shares: tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class Grant:
    """One window as the books have it.

    Attributes:
        start: Begin, in ms since the epoch.
        end: End, likewise.
        caps: What the gateway may have spent in it in all; meaningless where there is no limit.
        others: What other gateways have spent in it, as they said.
    """

    start: int
    end: int
    caps: Amounts
    others: Amounts


@dataclass(frozen=True, slots=True)
class Granted:
    """The answer to a report.

    Attributes:
        now: The time of whoever keeps the books, in ms since the epoch.
        windows: One a window.
    """

    now: int
    windows: tuple[Grant, ...]


class Leases(Protocol):
    """Keeps the books of every key."""

    async def exchange(self, key: str, report: Report) -> Granted:
        """Take a report and lease anew.

        Raises:
            StoreUnavailable: The books cannot be had in time.
        """
        ...


@dataclass(frozen=True, slots=True)
class Others:
    """What the other gateways have of one limit.

    Attributes:
        spent: As they said.
        leased: What they may still spend.
        holders: How many may spend anything of any limit of the window.
    """

    spent: int
    leased: int
    holders: int


def cap_of(  # noqa: PLR0913, PLR0917 - each argument is one fact of the limit
    limit: int, others: Others, spent: int, kept: int, need: int, want: int
) -> int:
    """Return a gateway's new cap of one limit.

    It gets what it needs as far as it is there, else its pace up to a fair share of what is left.

    Args:
        limit: Of the key, `UNLIMITED` for none.
        others: What the other gateways have.
        spent: What this one has spent.
        kept: The part of its cap that it still holds.
        need: See `Share`.
        want: See `Share`.
    """
    if limit == UNLIMITED:
        return UNLIMITED
    left = limit - others.spent - others.leased - spent
    fair = left // (_FAIR_SHARE * (others.holders + 1))
    return max(spent, kept, spent + min(left, max(need, min(want, fair))))
