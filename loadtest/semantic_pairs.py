"""Pairs of questions that mean the same or do not, split so that no question is on both sides."""

import asyncio
import gzip
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from entroute.cache.semantic.guards import objection, read
from entroute.embedded.embedder import LocalEmbedder, local_files

Part = Literal["fit", "calibration", "test"]
PARTS: tuple[Part, ...] = ("fit", "calibration", "test")

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two questions.

    Attributes:
        id: Its name in its file.
        a: One text.
        b: The other.
        same: Whether they mean the same, as labelled.
        kind: What it is about; "" where the file does not say.
    """

    id: str
    a: str
    b: str
    same: bool
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Scored:
    """A pair as the cache sees it.

    Attributes:
        pair: The two questions.
        similarity: Cosine of their vectors.
        guard: The first guard that objects, None where none does.
    """

    pair: Pair
    similarity: float
    guard: str | None


def read_qqp(path: Path) -> list[Pair]:
    """Read `pairs.jsonl.gz`: id, text_a, text_b, label (1 = duplicate)."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [Pair(r["id"], r["text_a"], r["text_b"], bool(r["label"])) for r in rows]


def read_contradictions(path: Path) -> list[Pair]:
    """Read the contradiction set: id, kind, by, a, b, same."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Pair(r["id"], r["a"], r["b"], r["same"], r["kind"]) for r in rows]


def split(pairs: Sequence[Pair]) -> dict[Part, list[Pair]]:
    """Split pairs by connected component of shared texts: 60% fit, 20% calibration, 20% test.

    Which part a component is in depends on its alphabetically first text alone.
    """
    root = components((pair.a, pair.b) for pair in pairs)
    first: dict[str, str] = {}
    for text in sorted(root):
        first.setdefault(root[text], text)
    found: dict[Part, list[Pair]] = {part: [] for part in PARTS}
    for pair in pairs:
        digest = hashlib.blake2b(first[root[pair.a]].encode(), digest_size=8).digest()
        tenth = int.from_bytes(digest, "big") % 10
        found["fit" if tenth < 6 else "calibration" if tenth < 8 else "test"].append(pair)
    return found


def components(links: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return of each text the text that stands for all that are linked with it."""
    parent: dict[str, str] = {}

    def root(text: str) -> str:
        parent.setdefault(text, text)
        while parent[text] != text:
            parent[text] = parent[parent[text]]
            text = parent[text]
        return text

    for a, b in links:
        parent[root(a)] = root(b)
    return {text: root(text) for text in list(parent)}


def embedded(texts: Sequence[str], kept: Path | None = None) -> dict[str, Vectors]:
    """Return a unit vector a text, read from a file of an earlier run where it has the same texts.

    Args:
        texts: Distinct, each short enough for the model.
        kept: Folder for the file, None to keep none.
    """
    digest = hashlib.blake2b("\0".join(texts).encode(), digest_size=8).hexdigest()
    file = None if kept is None else kept / f"vectors-{digest}.npy"
    if file is not None and file.exists():
        matrix = np.load(file)
    else:
        matrix = np.stack(asyncio.run(_embed(texts)))
        if file is not None:
            np.save(file, matrix)
    return dict(zip(texts, matrix, strict=True))


async def _embed(texts: Sequence[str]) -> list[Vectors]:
    embedder = LocalEmbedder(lambda: local_files(lambda *_: None), threads=2)
    try:
        found = await embedder.embed(texts)
    finally:
        await embedder.close()
    return [vector for vector in found if vector is not None]


def scored(pairs: Sequence[Pair], vectors: dict[str, Vectors], least: float = 0.0) -> list[Scored]:
    """Return the pairs of at least a similarity as the cache sees them."""
    likeness: Callable[[Pair], float] = lambda pair: float(vectors[pair.a] @ vectors[pair.b])  # noqa: E731
    near = [(pair, value) for pair in pairs if (value := likeness(pair)) >= least]
    return [Scored(pair, value, objection(read(pair.a), read(pair.b))) for pair, value in near]
