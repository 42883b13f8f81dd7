"""One link a Redis: whatever uses the same address shares its connections and its breaker."""

from collections.abc import Callable, Mapping

from entroute.redis_link.budgeted import BudgetedRedis
from entroute.redis_link.failures import RESULTS


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

    @property
    def up(self) -> bool | None:
        """Whether every Redis answers, None where none is used."""
        return all(link.up for link in self._links.values()) if self._links else None

    @property
    def calls(self) -> Mapping[str, int]:
        """Calls so far, to any Redis, by what became of them."""
        return {
            result: sum(link.calls[result] for link in self._links.values()) for result in RESULTS
        }

    async def close(self) -> None:
        """Let go of all connections."""
        for link in self._links.values():
            await link.close()
