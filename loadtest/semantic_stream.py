"""A stream of questions against an index of others: how often is an answer given, and rightly?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from entroute.cache.semantic.index import Neighbour
from entroute.cache.semantic.matching import judged
from entroute.cache.semantic.semantic import NEIGHBOURS
from loadtest.intervals import clopper_pearson_upper
from loadtest.semantic_pairs import Pair, Vectors, components


@dataclass(frozen=True, slots=True)
class Streamed:
    """What became of a stream.

    Attributes:
        indexed: Questions that were known.
        asked: Questions that were asked.
        answerable: Of them, those with a labelled duplicate that was known.
        alike: With a known question at or above the threshold.
        right: Answered from a question that is linked with it by labelled duplicates.
        wrong: Answered from a question that is labelled different.
        unlabelled: Answered from a question that nobody labelled: (asked, answered from).
    """

    indexed: int
    asked: int
    answerable: int
    alike: int
    right: int
    wrong: int
    unlabelled: tuple[tuple[str, str], ...]

    def lines(self) -> Sequence[str]:
        """Return it in words."""
        served = self.right + self.wrong + len(self.unlabelled)
        known = self.right + self.wrong
        bound = clopper_pearson_upper(self.wrong, known) if known else 1.0
        return (
            (
                f"{self.indexed} questions known, {self.asked} others asked, "
                f"{self.answerable} of them with a labelled duplicate among the known"
            ),
            (
                f"alike enough: {self.alike} ({self.alike / self.asked:.2%} of look-ups); "
                f"answered: {served} ({served / self.asked:.2%} of look-ups)"
            ),
            (
                f"labelled the same: {self.right}; labelled different: {self.wrong} "
                f"({self.wrong / max(1, known):.1%} of the labelled, ≤ {bound:.1%} at 95%; "
                f"{self.wrong / self.asked:.3%} of look-ups); unlabelled: {len(self.unlabelled)}"
            ),
        )


def stream(pairs: Sequence[Pair], vectors: dict[str, Vectors], threshold: float) -> Streamed:
    """Index every pair's first question, ask every second one that is not indexed."""
    known = sorted({pair.a for pair in pairs})
    asked = sorted({pair.b for pair in pairs} - set(known))
    alike = components((pair.a, pair.b) for pair in pairs if pair.same)
    different = {frozenset((pair.a, pair.b)) for pair in pairs if not pair.same}
    answerable = {alike[text] for text in known if text in alike}
    matrix = np.stack([vectors[text] for text in known])
    near = right = wrong = 0
    unlabelled: list[tuple[str, str]] = []
    for text in asked:
        match, likely = _answered(text, known, matrix @ vectors[text], threshold)
        near += likely
        if match is None:
            continue
        if text in alike and alike[text] == alike.get(match):
            right += 1
        elif frozenset((text, match)) in different:
            wrong += 1
        else:
            unlabelled.append((text, match))
    duplicates = sum(text in alike and alike[text] in answerable for text in asked)
    return Streamed(len(known), len(asked), duplicates, near, right, wrong, tuple(unlabelled))


def _answered(
    text: str, known: Sequence[str], similarities: Vectors, threshold: float
) -> tuple[str | None, bool]:
    """Return the known question whose answer is given, and whether any was alike enough."""
    count = min(NEIGHBOURS, len(known))
    best = np.argpartition(similarities, -count)[-count:]
    order = best[np.argsort(similarities[best])[::-1]]
    neighbours = [Neighbour("", known[at], float(similarities[at])) for at in order]
    matches = judged(text, neighbours, threshold)
    taken = next((match.neighbour.text for match in matches if match.guard is None), None)
    return taken, bool(matches)
