"""An event loop whose clock jumps: waiting for a timer takes no time.

Recorded answers are replayed at the pace they were made, so that whatever depends on the order of
arrivals happens as it would have, and hours pass in seconds. Knows nothing of what runs on it.
"""

import asyncio
import selectors
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


class _JumpingSelector(selectors.DefaultSelector):
    """Moves a clock instead of waiting for it, unless something real is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.real = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready; where nothing is, let the time pass."""
        if timeout is None or self.real:
            since = time.monotonic()
            ready = super().select(timeout)
            self.now += time.monotonic() - since
            return ready
        ready = super().select(0)
        if not ready:
            self.now += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop on virtual time, which starts at 0.

    While something is waited for that takes real time, a child process for example, the clock
    goes as fast as a real one: `real_time`.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual seconds since the loop was made."""
        return self._jumping.now

    @contextmanager
    def real_time(self) -> Iterator[None]:
        """Let time pass as it really does while the block runs."""
        self._jumping.real += 1
        try:
            yield
        finally:
            self._jumping.real -= 1


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a virtual loop."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
