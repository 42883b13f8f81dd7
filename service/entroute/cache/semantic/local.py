"""An index in this process: one matrix a scope, filled from Redis where gateways share one."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from entroute.cache.semantic.index import Neighbour

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Entry:
    """One question and its vector.

    Attributes:
        key: Under which the exact cache keeps its answer.
        text: What was asked.
        vector: Unit length.
    """

    key: str
    text: str
    vector: "Vector"


class Journal(Protocol):
    """Entries that all gateways write and read, in the order in which they were written."""

    async def read(self, scope: str, after: str) -> tuple[Sequence[Entry], str]:
        """Return the entries written after a mark and the mark of the last; "" is the beginning.

        Raises:
            StoreUnavailable: The journal cannot be read within its budget; `write` likewise.
        """
        ...

    async def write(self, scope: str, entry: Entry) -> None:
        """Write an entry for all gateways."""
        ...


@dataclass(slots=True)
class _Scope:
    """One scope's entries, the oldest first, and their matrix while it is up to date."""

    entries: OrderedDict[str, Entry] = field(default_factory=OrderedDict)
    mark: str = ""
    matrix: "NDArray[np.float32] | None" = None


class LocalIndex:
    """Exact search over everything that is kept: a matrix product, 0.1 ms for 1,000 entries.

    Args:
        max_entries: Entries of one scope; the oldest go first.
        max_scopes: Scopes; the least recently used go first.
        journal: Of all gateways, None for one gateway on its own.
    """

    def __init__(self, max_entries: int, max_scopes: int, journal: Journal | None = None) -> None:
        self._max_entries = max_entries
        self._max_scopes = max_scopes
        self._journal = journal
        self._scopes: OrderedDict[str, _Scope] = OrderedDict()

    async def near(self, scope: str, vector: "Vector", count: int) -> Sequence[Neighbour]:
        """Return the most similar entries of a scope, the most similar first."""
        kept = await self._read(scope)
        if not kept.entries:
            return ()
        if kept.matrix is None:
            kept.matrix = _stacked(list(kept.entries.values()))
        similarities = kept.matrix @ vector
        entries = list(kept.entries.values())
        best = similarities.argsort()[::-1][:count]
        return tuple(
            Neighbour(entries[at].key, entries[at].text, float(similarities[at])) for at in best
        )

    async def add(self, scope: str, key: str, text: str, vector: "Vector") -> None:
        """Keep an entry in place of an older one of the same key."""
        entry = Entry(key, text, vector)
        if self._journal is None:
            self._keep(self._scope(scope), entry)
        else:  # it is read back from there in its place among the others' entries
            await self._journal.write(scope, entry)

    async def drop(self, scope: str, key: str) -> None:
        """Forget an entry whose answer is gone; each gateway finds out for itself."""
        kept = self._scopes.get(scope)
        if kept is not None and kept.entries.pop(key, None) is not None:
            kept.matrix = None

    async def close(self) -> None:
        """Forget everything."""
        self._scopes.clear()

    async def _read(self, scope: str) -> _Scope:
        kept = self._scope(scope)
        if self._journal is not None:
            entries, mark = await self._journal.read(scope, kept.mark)
            for entry in entries:
                self._keep(kept, entry)
            kept.mark = max(kept.mark, mark, key=_order)  # two look-ups may have read at once
        return kept

    def _scope(self, scope: str) -> _Scope:
        kept = self._scopes.setdefault(scope, _Scope())
        self._scopes.move_to_end(scope)
        while len(self._scopes) > self._max_scopes:
            self._scopes.popitem(last=False)
        return kept

    def _keep(self, kept: _Scope, entry: Entry) -> None:
        kept.entries.pop(entry.key, None)
        kept.entries[entry.key] = entry
        kept.matrix = None
        while len(kept.entries) > self._max_entries:
            kept.entries.popitem(last=False)


def _order(mark: str) -> tuple[int, ...]:
    """Return the order of a stream's marks: milliseconds, then a number."""
    return tuple(int(part) for part in mark.split("-")) if mark else ()


def _stacked(entries: Sequence[Entry]) -> "NDArray[np.float32]":
    import numpy as np  # noqa: PLC0415 - the extra `semantic` is optional

    return np.stack([entry.vector for entry in entries])
