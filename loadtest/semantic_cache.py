"""Measure the false hits of the semantic cache.

python -m loadtest.semantic_cache --qqp ../shared/data/semcache_qqp/pairs.jsonl.gz \
    --work DIR --plot docs/semantic-cache.png
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from entroute.cache.semantic.config import SemanticConfig
from loadtest.semantic_pairs import (
    Pair,
    Scored,
    Vectors,
    embedded,
    read_contradictions,
    read_qqp,
    scored,
    split,
)
from loadtest.semantic_report import THRESHOLDS, chosen_threshold, draw, guarded, table
from loadtest.semantic_stream import stream

ROOT = Path(__file__).resolve().parents[1]
CONTRADICTIONS = ROOT / "tests/cache/semantic/contradictions.jsonl"
AUDIT = ROOT / "loadtest/semantic_audit.json"

READ_FROM = 0.93
"""Cosine from which every guarded hit that is labelled different was read."""

BOUND = 0.015
"""What the upper bound of false hits among hits, as read, may be on the calibration part."""

SHOWN = (0.85, 0.90, 0.93, 0.94, 0.95, 0.96, 0.97)


@dataclass(frozen=True, slots=True)
class Set:
    """A set of pairs, the unlike ones only counted."""

    near: Sequence[Scored]
    others: tuple[int, int]

    @classmethod
    def of(cls, pairs: Sequence[Pair], vectors: dict[str, Vectors]) -> "Set":
        """Score pairs; those below every threshold need no guard's opinion."""
        near = scored(pairs, vectors, THRESHOLDS[0])
        same = sum(pair.same for pair in pairs) - sum(s.pair.same for s in near)
        return cls(near, (len(pairs) - len(near), same))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--qqp", type=Path, help="pairs.jsonl.gz; left out: contradictions alone")
    parser.add_argument("--work", type=Path, help="folder that keeps vectors for the next run")
    parser.add_argument("--plot", type=Path, help="PNG of precision over recall")
    given = parser.parse_args(arguments)
    threshold = SemanticConfig().threshold
    _contradictions(given.work)
    if given.qqp is not None:
        _qqp(given.qqp, given.work, given.plot, threshold)


def _contradictions(work: Path | None) -> None:
    rows = [json.loads(line) for line in CONTRADICTIONS.read_text(encoding="utf-8").splitlines()]
    pairs = read_contradictions(CONTRADICTIONS)
    vectors = embedded(sorted({text for pair in pairs for text in (pair.a, pair.b)}), work)
    for part in ("first", "held"):
        names = {row["id"] for row in rows if row["part"] == part}
        chosen = [pair for pair in pairs if pair.id in names]
        _say(f"Contradictions, part `{part}`", Set.of(chosen, vectors), None)


def _qqp(path: Path, work: Path | None, plot: Path | None, threshold: float) -> None:
    parts = split(read_qqp(path))
    pairs = [*parts["calibration"], *parts["test"]]
    texts = sorted({text for pair in pairs for text in (pair.a, pair.b)})
    began = time.perf_counter()
    vectors = embedded(texts, work)
    print(f"\n{len(texts)} questions embedded or read in {time.perf_counter() - began:.0f} s")
    audit = json.loads(AUDIT.read_text(encoding="utf-8"))
    different = set(audit["labelled_different"])
    for part in ("calibration", "test"):
        near = Set.of(parts[part], vectors)
        forgiven = {s.pair.id for s in near.near if not s.pair.same} - different
        if part == "calibration":
            choice = chosen_threshold(near.near, BOUND, forgiven, READ_FROM)
            print(f"\nthreshold by the calibration part: {choice}; configured: {threshold}")
        _say(f"QQP, {part} part", near, forgiven)
        _by_guard(near.near, threshold)
    if plot is not None:
        draw(near.near, near.others, threshold, plot)
    print("\nA stream against an index, test part:")
    streamed = stream(parts["test"], vectors, threshold)
    print("\n".join(streamed.lines()))
    if work is not None:
        unlabelled = "\n".join(" | ".join(pair) for pair in streamed.unlabelled)
        (work / "unlabelled.txt").write_text(unlabelled, encoding="utf-8")


def _say(title: str, pairs: Set, forgiven: set[str] | None) -> None:
    count = len(pairs.near) + pairs.others[0]
    same = sum(s.pair.same for s in pairs.near) + pairs.others[1]
    print(f"\n{title}: {count} pairs, {same} of one meaning\n")
    shown = SHOWN if forgiven is None else [value for value in SHOWN if value >= READ_FROM]
    print("\n".join(table(pairs.near, pairs.others, forgiven, shown)))


def _by_guard(pairs: Sequence[Scored], threshold: float) -> None:
    near = [s for s in pairs if s.similarity >= threshold]
    right = Counter(s.guard for s in near if not s.pair.same and not guarded(s, threshold))
    wrong = Counter(s.guard for s in near if s.pair.same and not guarded(s, threshold))
    print("\n| first guard | false hits it refused | true ones |\n|---|---|---|")
    for guard in sorted({*right, *wrong}, key=lambda name: -right[name]):
        print(f"| {guard} | {right[guard]} | {wrong[guard]} |")


if __name__ == "__main__":
    main()
