"""What limits are made of: three amounts in two windows, by one clock for all gateways. Pure.

Amounts are whole numbers: requests, tokens, micro-dollars. Times are milliseconds since the epoch.
"""

from datetime import UTC, datetime
from math import ceil, floor

from entroute.spending import RateLimits

Amounts = tuple[int, ...]
"""Requests, tokens (prompt and completion of all calls), micro-dollars."""

DIMENSIONS = ("requests", "tokens", "cost")
WINDOWS = ("minute", "month")
MINUTE, MONTH = range(len(WINDOWS))

NOTHING: Amounts = (0,) * len(DIMENSIONS)
UNLIMITED = -1
"""In the place of a limit: there is none."""

_MINUTE_MS = 60_000
_USD = 1_000_000
_DIGITS = 3  # a thousandth of a micro-dollar is an error of floating point, not money


def window_at(kind: int, now_ms: int) -> tuple[int, int]:
    """Return begin and end of the aligned minute or the UTC month that holds a moment."""
    if kind == MINUTE:
        start = now_ms - now_ms % _MINUTE_MS
        return start, start + _MINUTE_MS
    day = datetime.fromtimestamp(now_ms // 1000, UTC)
    first = datetime(day.year, day.month, 1, tzinfo=UTC)
    after = datetime(day.year + day.month // 12, day.month % 12 + 1, 1, tzinfo=UTC)
    return round(first.timestamp()) * 1000, round(after.timestamp()) * 1000


def limits_of(rates: RateLimits) -> tuple[Amounts, ...]:
    """Return the limits of every window, `UNLIMITED` where there is none."""
    return (
        (
            _limit(rates.requests_per_minute),
            _limit(rates.tokens_per_minute),
            _money(rates.cost_per_minute_usd),
        ),
        (
            _limit(rates.requests_per_month),
            _limit(rates.tokens_per_month),
            _money(rates.cost_per_month_usd),
        ),
    )


def micro_dollars(usd: float) -> int:
    """Return what is charged for an amount of dollars: the next whole micro-dollar."""
    return ceil(round(usd * _USD, _DIGITS))


def limit_name(window: int, dimension: int) -> str:
    """Return the name of a limit as keys write it, such as `tokens_per_minute`."""
    name = f"{DIMENSIONS[dimension]}_per_{WINDOWS[window]}"
    return f"{name}_usd" if DIMENSIONS[dimension] == "cost" else name


def span(milliseconds: int) -> str:
    """Return a length of time as OpenAI's headers write it, whole seconds up: `6m0s`."""
    seconds = max(0, -(-milliseconds // 1000))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}s"
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"


def _limit(amount: int | None) -> int:
    return UNLIMITED if amount is None else amount


def _money(usd: float | None) -> int:
    return UNLIMITED if usd is None else max(1, floor(round(usd * _USD, _DIGITS)))
