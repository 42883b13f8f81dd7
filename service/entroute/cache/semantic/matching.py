"""May a neighbour's answer be given? Likeness first, then the guards; pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from entroute.cache.semantic.guards import Reading, objection, read
from entroute.cache.semantic.index import Neighbour


@dataclass(frozen=True, slots=True)
class Judged:
    """A neighbour that is alike enough, and what speaks against it.

    Attributes:
        neighbour: What was asked before.
        guard: Name of the guard that objects, None when none does.
    """

    neighbour: Neighbour
    guard: str | None


def judged(text: str, neighbours: Sequence[Neighbour], threshold: float) -> tuple[Judged, ...]:
    """Return the neighbours at or above the threshold, each with the first objection to it.

    Args:
        text: What is asked.
        neighbours: What was asked before, the most similar first.
        threshold: Least cosine, in [-1, 1].
    """
    near = [neighbour for neighbour in neighbours if neighbour.similarity >= threshold]
    if not near:
        return ()
    asked = read(text)
    return tuple(Judged(neighbour, _objection(asked, neighbour)) for neighbour in near)


def _objection(asked: Reading, neighbour: Neighbour) -> str | None:
    # The same words but for white space need no knowledge of the language.
    if asked.text.split() == neighbour.text.split():
        return None
    return objection(asked, read(neighbour.text))
