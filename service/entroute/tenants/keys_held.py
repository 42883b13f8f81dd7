"""A copy of the keys in memory, kept current by a loop beside the requests."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress

from entroute.tenants.keys import Key, KeyCopy

_LOG = logging.getLogger("entroute.keys")


class HeldKeys(ABC):
    """A `KeySource` that looks keys up in memory and is refreshed in the background.

    Args:
        source: Where they come from, as metrics name it.
        every_s: Seconds between two looks at the source.
        clock: Monotonic seconds.
    """

    def __init__(self, source: str, every_s: float, clock: Callable[[], float]) -> None:
        self.source = source
        self._every_s = every_s
        self._clock = clock
        self._copy: KeyCopy | None = None
        self._current_at: float | None = None
        self._counts = {"loaded": 0, "failed": 0, "garbage": 0}
        self._said = ""
        self._task: asyncio.Task[None] | None = None

    @property
    def count(self) -> int:
        """How many keys are held."""
        return 0 if self._copy is None else len(self._copy.by_id)

    @property
    def age_s(self) -> float | None:
        """Seconds since the copy was last known to be what the source has; None for no copy."""
        return None if self._current_at is None else self._clock() - self._current_at

    @property
    def reloads(self) -> Mapping[str, int]:
        """Reads of the source by result, and how many records were left out as garbage."""
        return self._counts

    def find(self, digest: str) -> Key | None:
        """Return the key with this SHA-256. See `KeySource.find`."""
        return None if self._copy is None else self._copy.by_digest.get(digest)

    def by_id(self, key_id: str) -> Key | None:
        """Return the key with this id. See `KeySource.by_id`."""
        return None if self._copy is None else self._copy.by_id.get(key_id)

    @abstractmethod
    async def find_again(self, digest: str) -> Key | None:
        """Return a key that may just have been made. See `KeySource.find_again`."""

    @abstractmethod
    async def look(self) -> None:
        """Make the copy what the source has; where that cannot be, keep it and say why."""

    async def start(self) -> None:
        """Look once, then go on looking."""
        await self.look()
        self._task = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - rotation must not end with one bad look
                self._failed(f"{self.source}: {type(error).__name__}", type(error).__name__)

    def _loaded(self, copy: KeyCopy) -> None:
        self._copy = copy
        self._counts["loaded"] += 1
        self._unchanged()

    def _unchanged(self) -> None:
        self._current_at = self._clock()
        self._said = ""

    def _failed(self, why: str, trouble: str) -> None:
        """Count a read that failed, and say why once as long as the trouble is the same."""
        self._counts["failed"] += 1
        if trouble != self._said:
            self._said = trouble
            held = "none are held yet" if self._copy is None else f"{self.count} held ones go on"
            _LOG.warning("the keys could not be read again, %s: %s", held, why)
