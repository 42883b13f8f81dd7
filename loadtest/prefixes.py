"""A fake worker's prefix cache, as vLLM's: whole blocks of a prompt, the least used leave first."""

from collections import OrderedDict
from collections.abc import Sequence

BLOCK = 16
"""Prompt tokens that a cached block holds, as in vLLM."""


class PrefixCache:
    """Which prompt blocks are cached.

    A block's name depends on all that stands before it and on the request's `cache_salt`. The last
    token of a prompt is never found, as in vLLM: the model needs one to go on from.

    Args:
        most_blocks: That are kept.
    """

    def __init__(self, most_blocks: int = 65_536) -> None:
        self._most = most_blocks
        self._blocks: OrderedDict[int, None] = OrderedDict()

    def admit(self, words: Sequence[str], salt: str = "") -> int:
        """Return how many leading prompt tokens were cached, and remember all whole blocks."""
        digest, cached, unbroken = hash(salt), 0, True
        for start in range(0, len(words) - BLOCK + 1, BLOCK):
            digest = hash((digest, *words[start : start + BLOCK]))
            unbroken = unbroken and digest in self._blocks and start + BLOCK < len(words)
            cached += BLOCK if unbroken else 0
            self._blocks[digest] = None
            self._blocks.move_to_end(digest)
        while len(self._blocks) > self._most:
            self._blocks.popitem(last=False)
        return cached
