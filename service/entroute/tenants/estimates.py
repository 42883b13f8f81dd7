"""What a request will probably spend, before anybody can know: the mean of its key's last ones."""

from collections.abc import Sequence
from dataclasses import dataclass

from entroute.ledger import prompt_bound
from entroute.spending import Charge, Price
from entroute.tenants.limits import Amounts, micro_dollars
from entroute.types import ChatRequest

_WEIGHT = 0.2
"""Of the newest request in the exponential mean."""

_FIRST_COMPLETION = 256
"""Tokens that a key's first request is thought to generate."""

_BYTES_A_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Demand:
    """What is known of a request's size when it arrives.

    Attributes:
        prompt_tokens: About; 0 or more.
        max_tokens: Most it may generate, over all choices; None if it does not say.
    """

    prompt_tokens: int
    max_tokens: int | None = None

    @classmethod
    def of(cls, request: ChatRequest) -> "Demand":
        """Return that of a chat or a text completion."""
        most = None if request.max_tokens is None else request.max_tokens * request.n
        return cls(prompt_bound(request) // _BYTES_A_TOKEN, most)


@dataclass(slots=True)
class Estimates:
    """Exponential means of what the requests of one key spent, cached answers left out.

    Attributes:
        price: What the first request is thought to cost.
        tokens: Mean of all tokens, None before the first.
        completion: Mean of generated tokens.
        cost: Mean of micro-dollars.
    """

    price: Price
    tokens: float | None = None
    completion: float = _FIRST_COMPLETION
    cost: float = 0.0

    def amounts(self, demand: Demand) -> Amounts:
        """Return what to set aside: one request, tokens, micro-dollars."""
        most = self.completion if demand.max_tokens is None else demand.max_tokens
        generated = min(most, self.completion)
        tokens = max(self.tokens or 0.0, demand.prompt_tokens + generated)
        first = demand.prompt_tokens * self.price.prompt + generated * self.price.completion
        cost = self.cost if self.tokens is not None else first
        return (1, round(tokens), round(cost))

    def learn(self, charges: Sequence[Charge]) -> None:
        """Note what a request spent."""
        if not charges:
            return
        _, tokens, cost = spent_on(charges)
        completion = sum(charge.usage.completion_tokens for charge in charges)
        if self.tokens is None:
            self.tokens, self.completion, self.cost = float(tokens), float(completion), float(cost)
            return
        self.tokens += _WEIGHT * (tokens - self.tokens)
        self.completion += _WEIGHT * (completion - self.completion)
        self.cost += _WEIGHT * (cost - self.cost)


def spent_on(charges: Sequence[Charge]) -> Amounts:
    """Return what one request spent over all its calls, cancelled and discarded ones too."""
    usages = [charge.usage for charge in charges]
    tokens = sum(usage.prompt_tokens + usage.completion_tokens for usage in usages)
    return (1, tokens, micro_dollars(sum(charge.cost_usd for charge in charges)))
