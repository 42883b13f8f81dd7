"""What clients read of their key's limits: headers as OpenAI's, and why a request is refused."""

from collections.abc import Sequence

from entroute.errors import InsufficientQuota, LimitsUnavailable, RateLimitExceeded
from entroute.tenants.account import Standing
from entroute.tenants.limits import DIMENSIONS, MONTH, WINDOWS, limit_name, span

_UNIT = {"requests": "requests", "tokens": "tokens", "cost": "micro-dollars"}
_HELD_S = 1  # gateways give back what they do not use at about every second report


def limit_headers(standing: Sequence[Standing]) -> dict[str, str]:
    """Return OpenAI's rate-limit headers: of the minute, of the month where only that is limited.

    They know requests and tokens, no money.
    """
    headers: dict[str, str] = {}
    for each in reversed(standing):  # the minute's come first in it
        name = DIMENSIONS[each.dimension]
        if name != "cost":
            headers[f"x-ratelimit-limit-{name}"] = str(each.limit)
            headers[f"x-ratelimit-remaining-{name}"] = str(each.left)
            headers[f"x-ratelimit-reset-{name}"] = span(each.wait_ms)
    return headers


def refusal(standing: Sequence[Standing]) -> RateLimitExceeded:
    """Return the error for the limit that will be in the way for longest.

    Args:
        standing: Every limit, with what was asked of it; at least one.
    """
    exceeded = [each for each in standing if each.exceeded]
    scarce = min(standing, key=lambda each: each.left / each.limit)
    worst = max(exceeded, key=lambda each: each.wait_ms, default=scarce)
    name, dimension = limit_name(worst.window, worst.dimension), DIMENSIONS[worst.dimension]
    if not worst.exceeded:
        return RateLimitExceeded(
            "Other requests of this API key hold what is left of its limits. "
            f"Please try again in {_HELD_S}s.",
            rate=name,
            dimension=dimension,
            retry_after_s=_HELD_S,
        )
    message = (
        f"Rate limit reached for this API key on {_UNIT[dimension]} per {WINDOWS[worst.window]}: "
        f"Limit {worst.limit}, Used {worst.used}, Requested {worst.need}. "
        f"Please try again in {span(worst.wait_ms)}."
    )
    kind = InsufficientQuota if worst.window == MONTH else RateLimitExceeded
    wait = max(1, -(-worst.wait_ms // 1000))
    return kind(message, rate=name, dimension=dimension, retry_after_s=wait)


def limited_by(error: Exception) -> str | None:
    """Return the limit that an error is about, `unavailable` where nobody could say, or None."""
    if isinstance(error, RateLimitExceeded):
        return error.rate
    return "unavailable" if isinstance(error, LimitsUnavailable) else None
