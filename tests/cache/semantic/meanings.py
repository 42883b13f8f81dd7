"""An embedder and caches by meaning for tests: alike is what shares letters, three at a time."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from entroute.cache.key import cache_key
from entroute.cache.parts import CacheParts
from entroute.cache.semantic.building import Finding, finder
from entroute.cache.semantic.config import LocalEmbedderConfig, SemanticConfig
from entroute.cache.semantic.index import Embedder
from entroute.redis_link.budgeted import BudgetedRedis
from entroute.types import ChatRequest, Options, Principal

DIMENSIONS = 384
LONGEST = 500
TTL_S = 60.0

Vector = NDArray[np.float32]


def vector_of(text: str) -> Vector:
    """Return a unit vector of a text's letters, three at a time, whatever their case."""
    counts = np.zeros(DIMENSIONS, np.float32)
    plain = f"  {text.lower()}  "
    for at in range(len(plain) - 2):
        counts[
            sum(ord(letter) * 31**power for power, letter in enumerate(plain[at : at + 3]))
            % DIMENSIONS
        ] += 1
    return counts / np.linalg.norm(counts)


class LetterEmbedder:
    """Embeds texts by their letters; counts, and may be slow."""

    name = "letters"
    dimensions = DIMENSIONS

    def __init__(self, delay_s: float = 0.0) -> None:
        self.texts: list[str] = []
        self.running = False
        self._delay_s = delay_s

    async def start(self) -> None:
        self.running = True

    async def embed(self, texts: Sequence[str]) -> list[Vector | None]:
        await asyncio.sleep(self._delay_s)
        self.texts += texts
        return [vector_of(text) if len(text) <= LONGEST else None for text in texts]

    async def close(self) -> None:
        self.running = False


def key_of(fingerprint: str = "f") -> Callable[[ChatRequest, Options, Principal], str]:
    """Return what makes the exact cache's keys."""
    return lambda request, options, principal: cache_key(
        request, options, principal, models=("small=m",), fingerprint=fingerprint
    )


def with_meaning(
    parts: CacheParts,
    embedder: Embedder | None = None,
    redis: BudgetedRedis | None = None,
    fingerprint: str = "f",
    **config: float,
) -> CacheParts:
    """Return a cache's parts with what finds answers by meaning; a low threshold by default."""
    settings = SemanticConfig.model_validate(
        {"enabled": True, "threshold": 0.5, "embed_timeout_ms": 10_000, **config}
    )

    def built(_: LocalEmbedderConfig) -> Embedder:
        return embedder or LetterEmbedder()

    return finder(settings, parts, redis, TTL_S, Finding(built, key_of(fingerprint)))


def link_to(url: str, timeout_s: float = 5.0) -> BudgetedRedis:
    """Return a link to a Redis."""
    return BudgetedRedis(url, timeout_s, time.monotonic)


def chat(text: str, *earlier: tuple[str, str], **facts: object) -> ChatRequest:
    """Return a greedy chat whose last user message is `text`."""
    said = [{"role": role, "content": content} for role, content in earlier]
    request = ChatRequest("auto", (*said, {"role": "user", "content": text}), temperature=0.0)
    return replace(request, **facts)  # type: ignore[arg-type]
