"""The semantic cache: an answer to a question that means the same.

Finding one costs an embedding (about 3 ms) and one look into the index. Whatever fails on the way
is a miss: the request is answered anew, as well as ever.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from entroute.cache.semantic.index import Embedder, Index, Neighbour
from entroute.cache.semantic.matching import judged
from entroute.cache.semantic.scope import KeyOf, Place, place_of
from entroute.errors import StoreUnavailable
from entroute.evidence import Likeness, Outcome, Trace
from entroute.protocols import Cache
from entroute.types import ChatRequest, Options, Principal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]

NEIGHBOURS = 5
"""Entries that are compared with a question."""

_RECENT = 256
"""Vectors of questions that were missed, kept until their answers are made."""


class MeaningCache:
    """A `SemanticCache`.

    Args:
        answers: Keeps the answers by exact key.
        index: Keeps the questions.
        embedder: Makes vectors of them.
        key_of: Returns the exact cache's key.
        threshold: Least cosine of two questions, in [-1, 1].
        embed_s: Seconds that a look-up waits for its vector.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what it is made of
        self,
        answers: Cache,
        index: Index,
        embedder: Embedder,
        key_of: KeyOf,
        threshold: float,
        embed_s: float,
    ) -> None:
        self._answers = answers
        self._index = index
        self._embedder = embedder
        self._key_of = key_of
        self._threshold = threshold
        self._embed_s = embed_s
        self._recent: OrderedDict[str, Vector | None] = OrderedDict()

    async def get(
        self, request: ChatRequest, options: Options, principal: Principal, trace: Trace
    ) -> Outcome | None:
        """Return the kept answer to a question of the same meaning, or None; note how it went."""
        place = place_of(request, options, principal, self._keyed)
        if place is None:
            trace.likeness = Likeness("ineligible")
            return None
        try:
            vector = await self._vector(place.text)
            if vector is None:
                trace.likeness = Likeness("ineligible")
                return None
            neighbours = await self._index.near(place.scope, vector, NEIGHBOURS)
            outcome, trace.likeness = await self._found(place, neighbours)
        except (StoreUnavailable, TimeoutError):
            trace.likeness = Likeness("error")
            return None
        return outcome

    async def put(  # noqa: PLR0913, PLR0917 - the seam's
        self,
        key: str,
        request: ChatRequest,
        options: Options,
        principal: Principal,
        outcome: Outcome,
        trace: Trace,
    ) -> None:
        """Make a new answer findable."""
        place = place_of(request, options, principal, self._keyed)
        if place is None:
            return
        try:
            vector = await self._vector(place.text)
            if vector is not None:
                await self._index.add(place.scope, key, place.text, vector)
        except (StoreUnavailable, TimeoutError):
            # Nobody misses it yet; whether the index works is counted where it is asked.
            return

    def keyed(self, key_of: KeyOf) -> "MeaningCache":
        """Return it under other keys, with the same index and model."""
        other = MeaningCache(
            self._answers, self._index, self._embedder, key_of, self._threshold, self._embed_s
        )
        other._recent = self._recent
        return other

    async def start(self) -> None:
        """Load the embedding model.

        Raises:
            WeightsError: It cannot be had.
        """
        await self._embedder.start()

    async def close(self) -> None:
        """Let go of index and model."""
        await self._index.close()
        await self._embedder.close()

    def _keyed(self, request: ChatRequest, options: Options, principal: Principal) -> str:
        # Vectors of two models cannot be compared.
        return f"{self._embedder.name}:{self._key_of(request, options, principal)}"

    async def _vector(self, text: str) -> "Vector | None":
        """Return a text's unit vector, None for a text that the model cannot read whole."""
        if text not in self._recent:
            async with asyncio.timeout(self._embed_s):
                (vector,) = await self._embedder.embed([text])
            self._recent[text] = vector
            while len(self._recent) > _RECENT:
                self._recent.popitem(last=False)
        return self._recent[text]

    async def _found(
        self, place: Place, neighbours: Sequence[Neighbour]
    ) -> tuple[Outcome | None, Likeness]:
        """Return the first neighbour's answer to which no guard objects and that is still kept."""
        seen = Likeness("miss", neighbours[0].similarity) if neighbours else Likeness("miss")
        for match in judged(place.text, neighbours, self._threshold):
            neighbour = match.neighbour
            if match.guard is not None:
                if seen.result == "miss":
                    seen = Likeness("guarded", neighbour.similarity, match.guard)
                continue
            outcome = await self._answers.get(neighbour.key)
            if outcome is not None:
                return outcome, Likeness("hit", neighbour.similarity)
            await self._index.drop(place.scope, neighbour.key)
        return None, seen
