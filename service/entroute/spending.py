"""What a request may spend and what it has spent: limits, prices, usage, charges.

Tokens are counted by the workers, never from text. Money is US dollars.
"""

from dataclasses import dataclass
from typing import Any, Literal

Purpose = Literal["answer", "sample", "probe", "verify", "discarded"]
"""What a call was for. `discarded`: its tokens reached no one and decided nothing."""


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """Limits as a client, a principal or the server states them; None is no limit.

    Attributes:
        max_calls: Calls to workers, at least 1.
        max_generated_tokens: Completion tokens over all calls, at least 1.
        deadline_s: Seconds from the request's arrival, above 0.
        max_cost_usd: Dollars over all calls, 0 or more.
    """

    max_calls: int | None = None
    max_generated_tokens: int | None = None
    deadline_s: float | None = None
    max_cost_usd: float | None = None

    def capped(self, other: "BudgetLimits") -> "BudgetLimits":
        """Return the tighter of both in every limit."""
        return BudgetLimits(
            _least(self.max_calls, other.max_calls),
            _least(self.max_generated_tokens, other.max_generated_tokens),
            _least(self.deadline_s, other.deadline_s),
            _least(self.max_cost_usd, other.max_cost_usd),
        )

    def budget(self, started: float) -> "Budget":
        """Return the budget of a request that arrived at `started` (monotonic seconds)."""
        return Budget(
            max_calls=self.max_calls or 1,
            max_generated_tokens=self.max_generated_tokens or 1,
            deadline=started + (self.deadline_s or 0.0),
            max_cost_usd=self.max_cost_usd,
        )


def _least(a: Any, b: Any) -> Any:
    if a is None or b is None:
        return b if a is None else a
    return min(a, b)


@dataclass(frozen=True, slots=True)
class RateLimits:
    """What one API key may use a minute and a calendar month (UTC); None is no limit.

    Attributes:
        requests_per_minute: Requests, at least 1.
        tokens_per_minute: Prompt and completion tokens of all calls, at least 1.
        cost_per_minute_usd: Dollars, above 0.
        requests_per_month: As a minute's.
        tokens_per_month: As a minute's.
        cost_per_month_usd: As a minute's.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    cost_per_minute_usd: float | None = None
    requests_per_month: int | None = None
    tokens_per_month: int | None = None
    cost_per_month_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Reservation:
    """What one request was let in with, until it is known what it spent.

    Attributes:
        key: Id of the API key that it is charged to.
        number: Which of the gateway's reservations.
        starts: Begin of the minute and of the month that let it in, ms since the epoch.
        amounts: By window: requests, tokens and micro-dollars set aside.
    """

    key: str
    number: int
    starts: tuple[int, ...]
    amounts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Budget:
    """What one request may spend.

    Attributes:
        max_calls: Calls to workers.
        max_generated_tokens: Completion tokens over all calls.
        deadline: Monotonic seconds.
        max_cost_usd: Dollars over all calls, or None.
    """

    max_calls: int
    max_generated_tokens: int
    deadline: float
    max_cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens, 0 or more."""

    prompt: float = 0.0
    completion: float = 0.0

    def cost(self, usage: "Usage") -> float:
        """Return what `usage` costs, in dollars."""
        spent = usage.prompt_tokens * self.prompt + usage.completion_tokens * self.completion
        return spent / 1e6


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and calls, additive.

    Attributes:
        prompt_tokens: Tokens read, including cached ones.
        cached_tokens: Those of them that the worker's prefix cache held.
        completion_tokens: Tokens generated.
        calls: Upstream calls.
        partial_calls: Those of them that ended early, counted by what they had sent.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    calls: int = 0
    partial_calls: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.completion_tokens + other.completion_tokens,
            self.calls + other.calls,
            self.partial_calls + other.partial_calls,
        )


@dataclass(frozen=True, slots=True)
class Charge:
    """One call's line in the ledger.

    Attributes:
        call_id: The call's number within the request.
        tier: Tier that was called.
        purpose: What the call was for.
        usage: What it spent.
        cost_usd: Its price.
    """

    call_id: int
    tier: str
    purpose: Purpose
    usage: Usage
    cost_usd: float
