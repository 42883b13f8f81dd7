"""What a key has used, as `entroute keys usage` shows it, from the Redis that gateways share."""

import asyncio
import re
import time
from datetime import UTC, datetime

from rich.table import Table
from rich.text import Text

from entroute.errors import ConfigurationError
from entroute.redis_link.links import RedisLinks
from entroute.tenants.tallies import Spent, Tally, summed, tally_of
from entroute.tenants.usage import Place
from entroute.tenants.usage_redis import RedisUsage

_REDIS_S = 5.0
_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")
_COLUMNS = ("prompt", "cached", "completion", "calls", "partial", "USD")


def month_of(text: str | None, now: datetime) -> str:
    """Return a month, the current one if none is given.

    Raises:
        ConfigurationError: It is none.
    """
    if text is None:
        return f"{now.astimezone(UTC):%Y-%m}"
    if not _MONTH.fullmatch(text):
        raise ConfigurationError("--month: write a year and a month, such as 2026-11")
    return text


def used(url: str, key_id: str, month: str) -> Tally:
    """Return what a key has used in a month.

    Raises:
        ConfigurationError: There is no Redis to ask.
        StoreUnavailable: It does not answer.
    """
    if not url:
        raise ConfigurationError(
            "usage is kept in Redis: give --config of gateways that share one, or its address in "
            "ENTROUTE_REDIS__URL; a gateway without Redis tells its own at GET /v1/usage"
        )
    return asyncio.run(_read(url, Place(key_id, month)))


def usage_table(tally: Tally, title: str) -> Table:
    """Return what was used, a line a tier and purpose."""
    table = Table(title=title, title_justify="left")
    for column in ("tier", "purpose"):
        table.add_column(column)
    for column in _COLUMNS:
        table.add_column(column, justify="right")
    for (tier, purpose), spent in tally.spent.items():
        table.add_row(Text(tier), Text(purpose), *_cells(spent))
    table.add_section()
    told = f"{tally.requests} requests, {tally.errors} errors, {tally.cache_hits} from cache"
    table.add_row(Text("all"), Text(told), *_cells(tally.total))
    return table


def _cells(spent: Spent) -> tuple[str, ...]:
    usage = spent.usage
    counts = (
        usage.prompt_tokens,
        usage.cached_tokens,
        usage.completion_tokens,
        usage.calls,
        usage.partial_calls,
    )
    return (*map(str, counts), f"{spent.cost_usd:.6f}")


async def _read(url: str, place: Place) -> Tally:
    links = RedisLinks(time.monotonic)
    try:
        link = links.to(url, _REDIS_S)
        return tally_of(summed((await RedisUsage(link).read(place)).values()))
    except ValueError as error:  # which never quotes the address
        raise ConfigurationError(f"ENTROUTE_REDIS__URL: {error}") from None
    finally:
        await links.close()
