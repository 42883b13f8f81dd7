"""What the semantic cache would answer wrongly, from scored pairs: tables, a curve, a threshold."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.intervals import clopper_pearson_upper
from loadtest.semantic_pairs import Scored

THRESHOLDS = tuple(round(0.80 + 0.01 * step, 2) for step in range(20))
"""Cosines that are compared: 0.80 to 0.99."""

Serves = Callable[[Scored, float], bool]


def by_likeness(scored: Scored, threshold: float) -> bool:
    """Say whether a cache without guards would give the answer."""
    return scored.similarity >= threshold


def guarded(scored: Scored, threshold: float) -> bool:
    """Say whether the cache gives the answer."""
    return by_likeness(scored, threshold) and scored.guard is None


@dataclass(frozen=True, slots=True)
class Tally:
    """What one rule does on a set of pairs.

    Attributes:
        lookups: Pairs.
        same: Of them, those that mean the same.
        hits: Answers given.
        false_hits: Of them, those to a question of another meaning.
    """

    lookups: int
    same: int
    hits: int
    false_hits: int

    @property
    def precision(self) -> float:
        """Share of right answers among hits, 1 without hits."""
        return 1 - self.false_hits / self.hits if self.hits else 1.0

    @property
    def recall(self) -> float:
        """Share of the pairs of one meaning that are answered."""
        return (self.hits - self.false_hits) / self.same if self.same else 0.0

    @property
    def of_hits(self) -> tuple[float, float]:
        """Share of false hits among hits, and its one-sided 95% upper bound."""
        if not self.hits:
            return 0.0, 1.0
        return self.false_hits / self.hits, clopper_pearson_upper(self.false_hits, self.hits)

    @property
    def of_different(self) -> tuple[float, float]:
        """Share of the pairs of two meanings that are answered, and its upper bound."""
        different = self.lookups - self.same
        return (
            self.false_hits / different if different else 0.0,
            clopper_pearson_upper(self.false_hits, different) if different else 1.0,
        )


def tally(
    pairs: Sequence[Scored],
    serves: Serves,
    threshold: float,
    *,
    others: tuple[int, int] = (0, 0),
    forgiven: Collection[str] = (),
) -> Tally:
    """Count what a rule does.

    Args:
        pairs: Scored pairs.
        serves: The rule.
        threshold: Its least cosine.
        others: Pairs that were left out since they are unlike each other: how many, and how many
            of them mean the same.
        forgiven: Ids of pairs whose label says that they differ, and that do not on reading.
    """
    hits = [scored for scored in pairs if serves(scored, threshold)]
    false = [s for s in hits if not s.pair.same and s.pair.id not in forgiven]
    same = sum(scored.pair.same for scored in pairs)
    return Tally(len(pairs) + others[0], same + others[1], len(hits), len(false))


def chosen_threshold(
    pairs: Sequence[Scored], bound: float, forgiven: Collection[str], least: float
) -> float:
    """Return the lowest threshold whose false hits, as read, are surely below a bound.

    Args:
        pairs: The calibration part; no other may be used here.
        bound: The most that the one-sided 95% upper bound of false hits among hits may be.
        forgiven: Pairs that are labelled different and are not on reading.
        least: The lowest cosine down to which all such pairs were read.

    Raises:
        ValueError: No threshold keeps the bound.
    """
    for threshold in THRESHOLDS:
        counted = tally(pairs, guarded, threshold, forgiven=forgiven)
        if threshold >= least and counted.of_hits[1] <= bound:
            return threshold
    raise ValueError(f"no threshold keeps the upper bound of false hits below {bound}")


def table(
    pairs: Sequence[Scored],
    others: tuple[int, int],
    forgiven: Collection[str] | None,
    thresholds: Sequence[float],
) -> Iterator[str]:
    """Yield the rows of a Markdown table, without guards and with them."""
    head = "cosine | hits | false | of hits (≤ 95%) | of different pairs (≤ 95%) | recall"
    read = "" if forgiven is None else " | as read: false | of hits (≤ 95%)"
    yield f"| rule | {head}{read} |"
    yield "|---" * (7 if forgiven is None else 9) + "|"
    for name, serves in (("cosine alone", by_likeness), ("cosine and guards", guarded)):
        for threshold in thresholds:
            row = _row(tally(pairs, serves, threshold, others=others))
            if forgiven is not None:
                known = serves is guarded  # the others were not read
                read_too = tally(pairs, serves, threshold, others=others, forgiven=forgiven)
                share = "{:.1%} (≤ {:.1%})".format(*read_too.of_hits)
                row += f" | {read_too.false_hits} | {share}" if known else " | |"
            yield f"| {name} | {threshold:.2f} | {row} |"


def _row(counted: Tally) -> str:
    hits = "{:.1%} (≤ {:.1%})".format(*counted.of_hits)
    different = "{:.2%} (≤ {:.2%})".format(*counted.of_different)
    return f"{counted.hits} | {counted.false_hits} | {hits} | {different} | {counted.recall:.1%}"


def draw(pairs: Sequence[Scored], others: tuple[int, int], threshold: float, file: Path) -> None:
    """Draw precision over recall, one point a threshold, without guards and with them."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - the extra `plots` is optional

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, serves in (("cosine alone", by_likeness), ("cosine and guards", guarded)):
        points = [tally(pairs, serves, value, others=others) for value in THRESHOLDS]
        axes.plot(
            [point.recall for point in points],
            [point.precision for point in points],
            marker=".",
            label=name,
        )
        default = tally(pairs, serves, threshold, others=others)
        axes.annotate(f"{threshold:.2f}", (default.recall, default.precision))
    axes.set_xlabel("recall: duplicates that are answered")
    axes.set_ylabel("precision by label")
    axes.set_title(f"Test part, {len(pairs) + others[0]} pairs, cosines 0.80 to 0.99")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=110, metadata={"Software": None})
