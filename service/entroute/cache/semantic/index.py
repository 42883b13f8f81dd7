"""The seam of indexes: what was asked before, by likeness of meaning."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A question that was asked before.

    Attributes:
        key: Under which the exact cache keeps its answer.
        text: What was asked: tenant data like the answer.
        similarity: Cosine of the two vectors, in [-1, 1], 1 the same.
    """

    key: str
    text: str
    similarity: float


class Index(Protocol):
    """Texts and their vectors, by scope."""

    async def near(self, scope: str, vector: "Vector", count: int) -> Sequence[Neighbour]:
        """Return the most similar entries of a scope, the most similar first.

        Raises:
            StoreUnavailable: The index cannot answer within its budget; so do all others.
        """
        ...

    async def add(self, scope: str, key: str, text: str, vector: "Vector") -> None:
        """Keep an entry in place of an older one of the same key; room for it is made."""
        ...

    async def drop(self, scope: str, key: str) -> None:
        """Forget an entry whose answer is gone."""
        ...

    async def close(self) -> None:
        """Let go of what is held."""
        ...


class Embedder(Protocol):
    """Makes vectors of texts."""

    @property
    def name(self) -> str:
        """Tells vectors of different models apart."""
        ...

    @property
    def dimensions(self) -> int:
        """Numbers in a vector."""
        ...

    async def start(self) -> None:
        """Get ready."""
        ...

    async def embed(self, texts: Sequence[str]) -> "list[Vector | None]":
        """Return a unit vector of each text, None for a text that it cannot read whole."""
        ...

    async def close(self) -> None:
        """Let go of what is held."""
        ...
