"""The semantic cache as configured: which index, over which Redis."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from entroute.cache.parts import CacheParts
from entroute.cache.semantic.config import LocalEmbedderConfig, SemanticConfig
from entroute.cache.semantic.index import Embedder, Index
from entroute.cache.semantic.journal import StreamJournal
from entroute.cache.semantic.local import LocalIndex
from entroute.cache.semantic.scope import KeyOf
from entroute.cache.semantic.semantic import MeaningCache
from entroute.cache.semantic.vector_sets import ServerIndex, VectorSetIndex
from entroute.redis_link.budgeted import BudgetedRedis


@dataclass(frozen=True, slots=True)
class Finding:
    """What finding by meaning needs of others.

    Attributes:
        embedder: Builds what makes vectors.
        key_of: Returns the exact cache's key.
    """

    embedder: Callable[[LocalEmbedderConfig], Embedder]
    key_of: KeyOf


def finder(
    config: SemanticConfig,
    parts: CacheParts,
    redis: BudgetedRedis | None,
    ttl_s: float,
    finding: Finding,
) -> CacheParts:
    """Return the parts with what finds answers by meaning, unchanged where that is disabled.

    Args:
        config: What is configured of it.
        parts: What keeps answers by exact key.
        redis: That gateways share, None for one gateway on its own.
        ttl_s: Seconds an answer is kept.
        finding: What it needs of others.
    """
    if not config.enabled:
        return parts
    embedder = finding.embedder(config.embedder)
    found = MeaningCache(
        parts.answers,
        _index(config, redis, ttl_s, embedder.dimensions),
        embedder,
        finding.key_of,
        config.threshold,
        config.embed_timeout_ms / 1000,
    )
    return replace(parts, semantic=found)


def _index(
    config: SemanticConfig, redis: BudgetedRedis | None, ttl_s: float, dimensions: int
) -> Index:
    if redis is None:
        return LocalIndex(config.max_entries, config.max_scopes)
    journal = StreamJournal(redis, config.max_entries, ttl_s, dimensions)
    local = LocalIndex(config.max_entries, config.max_scopes, journal)
    return ServerIndex(redis, VectorSetIndex(redis, config.max_entries, ttl_s), local)
