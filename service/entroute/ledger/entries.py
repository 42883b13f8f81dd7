"""The lines of a ledger: one a call, from its reservation on."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from entroute.spending import Charge, Price, Purpose, Usage
from entroute.types import Call, Completion


@dataclass(slots=True)
class Entry:
    """A call that was reserved.

    Attributes:
        call: The call.
        tier: Tier that is called.
        purpose: What for.
        worst: The most that it can spend.
        whole: The same as it was at first.
        sent: What it has sent so far.
        charge: What it spent in the end, None while it runs.
        kept: What an earlier run has made for it, None where it must ask.
    """

    call: Call
    tier: str
    purpose: Purpose
    worst: Usage
    whole: Usage
    sent: Usage = field(default_factory=Usage)
    charge: Charge | None = None
    kept: Completion | None = None


class Book:
    """What one request has reserved and spent, call by call.

    Args:
        prices: By tier name; a tier without a price costs nothing.
    """

    def __init__(self, prices: Mapping[str, Price]) -> None:
        self._prices = prices
        self._entries: dict[int, Entry] = {}

    def note(self, call: Call, sent: Usage) -> None:
        """Say what a running call has sent so far: what it would cost to cancel it now."""
        self._entries[call.id].sent = sent

    def commit(self, call: Call, usage: Usage) -> None:
        """Charge what a call really spent, in place of its reservation.

        Raises:
            RuntimeError: The call was committed or released before.
        """
        entry = self._entries.get(call.id)
        if entry is None or entry.charge is not None:
            raise RuntimeError(f"call {call.id} is settled already")
        entry.charge = Charge(
            call.id, entry.tier, entry.purpose, usage, self._price(entry.tier).cost(usage)
        )

    def release(self, call: Call) -> None:
        """Give back the reservation of a call that spent nothing; nothing if it is settled."""
        entry = self._entries.get(call.id)
        if entry is not None and entry.charge is None:
            del self._entries[call.id]

    def mark(self, call: Call, purpose: Purpose) -> None:
        """Say what a call turned out to be for."""
        entry = self._entries.get(call.id)
        if entry is None:
            return
        entry.purpose = purpose
        if entry.charge is not None:
            entry.charge = replace(entry.charge, purpose=purpose)

    @property
    def charges(self) -> tuple[Charge, ...]:
        """Every committed call, in the order of reservation."""
        return tuple(e.charge for e in self._entries.values() if e.charge is not None)

    def _price(self, tier: str) -> Price:
        return self._prices.get(tier, Price())
