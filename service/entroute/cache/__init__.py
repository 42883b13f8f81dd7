"""Step 2 of the walk, first half: has this been answered before?"""

from secrets import token_hex
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.cache.answers import AnswerCache
from entroute.cache.leases import Leases
from entroute.cache.parts import CacheParts
from entroute.cache.samples import KeptSamples
from entroute.cache.semantic.building import Finding, finder
from entroute.cache.semantic.config import SemanticConfig
from entroute.cache.stamps import Stamps
from entroute.protocols import Clock
from entroute.redis_link.budgeted import BudgetedRedis, RedisUrl
from entroute.redis_link.links import RedisLinks
from entroute.stores import Store
from entroute.stores.memory import LARGEST_SHARE, MemoryStore
from entroute.stores.redis import RedisStore

_MIB = 1024 * 1024
_STRICT = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class _KeptConfig(BaseModel):
    """What every cache has in common, wherever it keeps answers."""

    model_config = _STRICT

    ttl_s: float = Field(3600.0, gt=0, description="Seconds an answer is kept.")
    max_entry_bytes: int = Field(
        _MIB, gt=0, description="Bytes of the largest answer that is kept, compressed."
    )
    sampled: bool = Field(
        default=False,
        description="Also keep answers to sampled requests (temperature above 0 or left to the "
        "worker, no seed) and give them again.",
    )
    across_tenants: bool = Field(
        default=False, description="Whether tenants whose rights are equal share answers."
    )
    resume: bool = Field(
        default=True,
        description="Keep samples and results of programs, so that a repeated prompt resumes its "
        "vote instead of starting over.",
    )
    semantic: SemanticConfig = Field(
        default=SemanticConfig(), description="Answers found by meaning; off by default."
    )

    def finding(self, parts: CacheParts, links: RedisLinks, finding: Finding) -> CacheParts:
        """Return the parts with what finds answers by meaning, where that is enabled."""
        return finder(self.semantic, parts, self._link(links), self.ttl_s, finding)

    def _link(self, links: RedisLinks) -> BudgetedRedis | None:
        """Return the link to the Redis that gateways share, None where there is none."""
        return None

    def _parts(self, store: Store, max_entry_bytes: int, leases: Leases | None) -> CacheParts:
        stamps = Stamps(store, self.ttl_s, _token)
        answers = AnswerCache(store, stamps, self.ttl_s, max_entry_bytes)
        samples = KeptSamples(
            store,
            stamps,
            self.ttl_s,
            max_entry_bytes,
            self.sampled,
            self.across_tenants,
            answers.discarded,
        )
        return CacheParts(
            answers=answers,
            stamps=stamps,
            leases=leases,
            sampled=self.sampled,
            across_tenants=self.across_tenants,
            samples=samples if self.resume else None,
            discarded=answers.discarded,
        )


class MemoryCacheConfig(_KeptConfig):
    """Answers kept in the gateway's own memory."""

    kind: Literal["memory"] = Field("memory", description="Keep answers in this process.")
    max_bytes: int = Field(
        64 * _MIB,
        gt=0,
        description="Bytes of answers to keep; the least recently used go first. An answer larger "
        "than an eighth of it is not kept.",
    )

    def build(self, clock: Clock, links: RedisLinks) -> CacheParts | None:
        """Return what keeps answers."""
        largest = min(self.max_entry_bytes, self.max_bytes // LARGEST_SHARE)
        return self._parts(MemoryStore(self.max_bytes, clock), largest, None)


class RedisCacheConfig(_KeptConfig):
    """Answers kept in a Redis that several gateways share."""

    kind: Literal["redis"] = Field("redis", description="Keep answers in Redis.")
    url: RedisUrl
    timeout_ms: int = Field(
        50,
        gt=0,
        description="Milliseconds one look-up may take; after that it is a miss. A Redis that "
        "fails again and again is left alone until it answers in time.",
    )
    follow_s: float = Field(
        30.0,
        ge=0,
        description="Seconds to wait for another gateway that is making the same answer, half of "
        "the request's own time at most; 0 = never wait.",
    )

    def build(self, clock: Clock, links: RedisLinks) -> CacheParts | None:
        """Return what keeps answers; it connects on first use."""
        store = RedisStore(self._link(links))
        leases = Leases(store, self.follow_s, _token, clock) if self.follow_s else None
        return self._parts(store, self.max_entry_bytes, leases)

    def _link(self, links: RedisLinks) -> BudgetedRedis:
        return links.to(self.url.get_secret_value(), self.timeout_ms / 1000)


class NoCacheConfig(BaseModel):
    """No cache: every request is answered anew."""

    model_config = _STRICT

    kind: Literal["off"] = Field("off", description="Keep no answers.")

    def build(self, clock: Clock, links: RedisLinks) -> CacheParts | None:
        """Return None."""
        return None


CacheConfig = Annotated[
    MemoryCacheConfig | RedisCacheConfig | NoCacheConfig, Field(discriminator="kind")
]
"""Which store to use, told apart by `kind`."""


def _token() -> bytes:
    """Return what nobody else has: a collision would bring an invalidated answer back."""
    return token_hex(12).encode()
