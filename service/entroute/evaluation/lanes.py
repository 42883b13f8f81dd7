"""Work at one tier: so much of it at once, and none any more when nobody answers."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class Lane:
    """Works through items, a few at once, until as many in a row have failed.

    Args:
        width: Items at once, at least 1.

    Attributes:
        closed: Whether it has given up.
    """

    def __init__(self, width: int) -> None:
        self.closed = False
        self._width = width
        self._failed_in_a_row = 0

    async def through(self, items: deque[T], work: Callable[[T], Awaitable[object]]) -> None:
        """Work through the items in their order; those that are left stay in the queue."""

        async def one_after_another() -> None:
            while items and not self.closed:
                await work(items.popleft())

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._width, len(items))):
                group.create_task(one_after_another())

    def answered(self) -> None:
        """Note that somebody answered."""
        self._failed_in_a_row = 0

    def failed(self) -> None:
        """Note that all attempts at one call failed."""
        self._failed_in_a_row += 1
        self.closed = self.closed or self._failed_in_a_row >= self._width
