"""One link a Redis: whatever uses the same address shares its connections and its breaker."""

from collections.abc import Callable

from entroute.budgeted_redis import BudgetedRedis


class RedisLinks:
    """Hands out links, each made once, and closes them all.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._links: dict[tuple[str, float], BudgetedRedis] = {}

    def to(self, url: str, timeout_s: float) -> BudgetedRedis:
        """Return the link to an address, every call of which has `timeout_s` seconds.

        Raises:
            ValueError: The address cannot be understood.
        """
        known = self._links.get((url, timeout_s))
        if known is None:
            known = self._links[url, timeout_s] = BudgetedRedis(url, timeout_s, self._clock)
        return known

    async def close(self) -> None:
        """Let go of all connections."""
        for link in self._links.values():
            await link.close()
