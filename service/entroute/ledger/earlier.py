"""Calls that an earlier run of the same prompt has made already: given out for nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from entroute.spending import Budget, Price
from entroute.types import Call, Completion


class Earlier(Protocol):
    """What earlier runs of the same prompt have made, and what this one adds to it."""

    def find(self, tier: str, call: Call, ahead: int = 0) -> Completion | None:
        """Return what answers a call, with the log-probabilities it asks for, or None.

        Args:
            tier: Tier to be called.
            call: The call.
            ahead: How many samples after that of the call the wanted one is.
        """
        ...

    def note(self, tier: str, call: Call, completion: Completion) -> None:
        """Take what a worker has answered, for later runs."""
        ...


@dataclass(frozen=True, slots=True)
class Kept:
    """What of it a request may have.

    Attributes:
        earlier: What was made, None for nothing.
        budget: Of the request. It spends nothing on a kept answer, yet gets none that is over its
            whole budget alone: such an answer it could not have made.
        price: Returns a tier's price.
    """

    earlier: Earlier | None
    budget: Budget
    price: Callable[[str], Price]

    def find(self, tier: str, call: Call, ahead: int = 0) -> Completion | None:
        """Return what a call gets for nothing, None where it must ask. See `Earlier.find`."""
        if self.earlier is None or call.partial:
            return None
        found = self.earlier.find(tier, call, ahead)
        if found is None or found.usage.completion_tokens > self.budget.max_generated_tokens:
            return None
        dollars = self.budget.max_cost_usd
        dear = dollars is not None and self.price(tier).cost(found.usage) > dollars
        return None if dear else found

    def fresh(self, tier: str, call: Call, ahead: range) -> int:
        """Count the samples that must be drawn, of those so many after that of a call."""
        if self.earlier is None:
            return len(ahead)
        return sum(self.find(tier, call, number) is None for number in ahead)

    def note(self, tier: str, call: Call, completion: Completion) -> None:
        """Tell what a worker has answered, where it is kept. See `Earlier.note`."""
        if self.earlier is not None:
            self.earlier.note(tier, call, completion)
