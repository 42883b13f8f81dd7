"""What a key has used: whole numbers that add up, and what they say. Pure.

A tally maps a field to a whole number: `requests`, `errors`, `cache_hits`, and for every tier and
purpose `tier|purpose|what`. Money is in pico-dollars, so that prices of any whole millionth of a
dollar per million tokens add up without a rounding.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from entroute.evidence import Trace
from entroute.spending import Charge, Usage

PICO = 10**12
"""Pico-dollars in a dollar."""

_ERRORS = frozenset({"client_error", "server_error"})


@dataclass(frozen=True, slots=True)
class Spent:
    """What calls of one kind spent.

    Attributes:
        usage: Tokens and calls.
        pico_usd: Their price.
    """

    usage: Usage = field(default_factory=Usage)
    pico_usd: int = 0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.usage + other.usage, self.pico_usd + other.pico_usd)

    @property
    def cost_usd(self) -> float:
        """Their price in dollars."""
        return self.pico_usd / PICO


@dataclass(frozen=True, slots=True)
class Tally:
    """What was used in some time.

    Attributes:
        requests: Requests, however they ended.
        errors: Those of them that were answered with an error.
        cache_hits: Those that another request's answer answered.
        spent: By tier and purpose.
    """

    requests: int = 0
    errors: int = 0
    cache_hits: int = 0
    spent: Mapping[tuple[str, str], Spent] = field(default_factory=dict)

    @property
    def total(self) -> Spent:
        """Everything spent."""
        return sum(self.spent.values(), Spent())


def fields_of(trace: Trace) -> Counter[str]:
    """Return what one finished request adds."""
    added = Counter(requests=1)
    added["errors"] = int(trace.result in _ERRORS)
    added["cache_hits"] = int(trace.cache in {"exact", "semantic"})
    for charge in trace.charges:
        added.update(_charged(charge))
    return Counter({name: amount for name, amount in added.items() if amount})


def _charged(charge: Charge) -> dict[str, int]:
    usage = charge.usage
    amounts = {
        "prompt": usage.prompt_tokens,
        "cached": usage.cached_tokens,
        "completion": usage.completion_tokens,
        "calls": usage.calls,
        "partial": usage.partial_calls,
        "pico_usd": round(charge.cost_usd * PICO),
    }
    return {f"{charge.tier}|{charge.purpose}|{what}": amount for what, amount in amounts.items()}


def tally_of(fields: Mapping[str, int]) -> Tally:
    """Return what fields say."""
    amounts: dict[tuple[str, str], dict[str, int]] = {}
    for name, amount in fields.items():
        if "|" in name:
            tier, purpose, what = name.rsplit("|", 2)
            amounts.setdefault((tier, purpose), {})[what] = amount
    spent = {
        kind: Spent(
            Usage(
                each.get("prompt", 0),
                each.get("cached", 0),
                each.get("completion", 0),
                each.get("calls", 0),
                each.get("partial", 0),
            ),
            each.get("pico_usd", 0),
        )
        for kind, each in sorted(amounts.items())
    }
    return Tally(
        fields.get("requests", 0), fields.get("errors", 0), fields.get("cache_hits", 0), spent
    )


def summed(fields: Iterable[Mapping[str, int]]) -> Counter[str]:
    """Return the sum of fields."""
    total: Counter[str] = Counter()
    for each in fields:
        total.update(each)
    return total
