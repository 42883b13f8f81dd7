"""What keys have used, of one process; forgotten when it ends."""

from collections import Counter

from entroute.tenants.usage import Batch, Days, Place


class MemoryUsage:
    """`UsageBook` in this process."""

    def __init__(self) -> None:
        self._days: dict[Place, dict[int, Counter[str]]] = {}
        self._numbers: dict[tuple[Place, str], int] = {}

    async def add(self, place: Place, batch: Batch) -> None:
        """Add a batch unless it was added before. See `UsageBook`."""
        if self._numbers.get((place, batch.member), 0) >= batch.number:
            return
        self._numbers[place, batch.member] = batch.number
        days = self._days.setdefault(place, {})
        for day, fields in batch.days.items():
            days.setdefault(day, Counter()).update(fields)

    async def read(self, place: Place) -> Days:
        """Return the sums. See `UsageBook`."""
        return {day: dict(fields) for day, fields in self._days.get(place, {}).items()}
