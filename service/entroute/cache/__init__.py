"""Step 2 of the walk, first half: has this been answered before?"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.budgeted_redis import RedisUrl
from entroute.cache.memory import MemoryCache
from entroute.cache.redis import RedisCache
from entroute.protocols import Cache, Clock
from entroute.redis_links import RedisLinks

_MIB = 1024 * 1024
_STRICT = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class MemoryCacheConfig(BaseModel):
    """Answers kept in the gateway's own memory."""

    model_config = _STRICT

    kind: Literal["memory"] = Field("memory", description="Keep answers in this process.")
    max_bytes: int = Field(
        64 * _MIB,
        gt=0,
        description="Bytes of answers to keep; the least recently used go first. An answer larger "
        "than an eighth of it is not kept.",
    )
    ttl_s: float = Field(3600.0, gt=0, description="Seconds an answer is kept.")

    def build(self, clock: Clock, links: RedisLinks) -> Cache | None:
        """Return the store."""
        return MemoryCache(self.max_bytes, self.ttl_s, clock)


class RedisCacheConfig(BaseModel):
    """Answers kept in a Redis that several gateways share."""

    model_config = _STRICT

    kind: Literal["redis"] = Field("redis", description="Keep answers in Redis.")
    url: RedisUrl
    ttl_s: float = Field(3600.0, gt=0, description="Seconds an answer is kept.")
    timeout_ms: int = Field(
        50,
        gt=0,
        description="Milliseconds one look-up may take, connecting included; after that it is a "
        "miss, and Redis is left alone for a second.",
    )

    def build(self, clock: Clock, links: RedisLinks) -> Cache | None:
        """Return the store; it connects on first use."""
        return RedisCache(links.to(self.url.get_secret_value(), self.timeout_ms / 1000), self.ttl_s)


class NoCacheConfig(BaseModel):
    """No cache: every request is answered anew."""

    model_config = _STRICT

    kind: Literal["off"] = Field("off", description="Keep no answers.")

    def build(self, clock: Clock, links: RedisLinks) -> Cache | None:
        """Return None."""
        return None


CacheConfig = Annotated[
    MemoryCacheConfig | RedisCacheConfig | NoCacheConfig, Field(discriminator="kind")
]
"""Which store to use, told apart by `kind`."""
