"""What gateways share: the links to Redis, the store on them, API keys, their limits and usage."""

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from uuid import uuid4

from entroute.errors import ConfigurationError
from entroute.protocols import Clock
from entroute.redis_link.links import RedisLinks
from entroute.settings import Settings
from entroute.stores import Store
from entroute.stores.memory import MemoryStore
from entroute.stores.redis import RedisStore
from entroute.tenants.keys_file import FileKeys, Known
from entroute.tenants.keys_held import HeldKeys
from entroute.tenants.keys_place import KeyPlace
from entroute.tenants.keys_redis import PATIENCE_S, RedisKeys
from entroute.tenants.limiter import Limiter
from entroute.tenants.limits_memory import MemoryLeases
from entroute.tenants.limits_redis import RedisLeases
from entroute.tenants.usage import UsageKeeper
from entroute.tenants.usage_memory import MemoryUsage
from entroute.tenants.usage_redis import RedisUsage

STORE_BYTES = 64 * 1024 * 1024
"""Bytes of shared state that a gateway without Redis keeps."""

_LATE_S = 60.0  # after a request's deadline, what was set aside for it is dropped


@dataclass(frozen=True, slots=True)
class Shared:
    """State shared with other gateways where there is a Redis, else of this process.

    Attributes:
        links: Connections to Redis.
        store: Bytes by key.
        keys: API keys, None where everyone may ask.
        limiter: Keeps them within their limits.
        usage: What they have used.
    """

    links: RedisLinks
    store: Store
    keys: HeldKeys | None
    limiter: Limiter
    usage: UsageKeeper

    async def start(self, stack: AsyncExitStack) -> None:
        """Start everything but the links, which begin with their first call; `stack` closes it."""
        stack.push_async_callback(self.links.close)
        if self.keys is not None:
            stack.push_async_callback(self.keys.close)
            await self.keys.start()
        stack.push_async_callback(self.limiter.close)
        await self.limiter.start()
        stack.push_async_callback(self.usage.close)
        await self.usage.start()

    def follow(self, settings: Settings) -> None:
        """Go on under another configuration: prices, and what keys may name."""
        self.limiter.follow(settings.tiers[0].price.build(), _expire_s(settings))
        if isinstance(self.keys, FileKeys):
            self.keys.known = known_names(settings)


def built_shared(settings: Settings, clock: Clock) -> Shared:
    """Return it, not started."""
    links = RedisLinks(clock)
    redis = settings.shared_redis
    member = uuid4().hex
    auth = settings.auth
    when_redis_fails = "open" if auth is None else auth.when_redis_fails
    if redis is None:
        link = None
    else:
        link = links.to(redis.url.get_secret_value(), redis.timeout_ms / 1000)
    return Shared(
        links,
        MemoryStore(STORE_BYTES, clock) if link is None else RedisStore(link),
        _keys(settings, links, clock),
        Limiter(
            MemoryLeases(time.time) if link is None else RedisLeases(link),
            clock,
            time.time,
            member,
            when_redis_fails,
            price=settings.tiers[0].price.build(),
            expire_s=_expire_s(settings),
        ),
        UsageKeeper(MemoryUsage() if link is None else RedisUsage(link), time.time, member),
    )


def _expire_s(settings: Settings) -> float:
    return settings.limits.deadline_s + _LATE_S


def known_names(settings: Settings) -> Known:
    """Return what API keys may name."""
    strategies = [config.kind for config in settings.all_strategies]
    embedding = (tier.name for tier in settings.embeddings)
    return Known([*(tier.name for tier in settings.tiers), *embedding], strategies)


def key_place(settings: Settings) -> KeyPlace:
    """Return where the API keys of a configuration are.

    Raises:
        ConfigurationError: It asks for none.
    """
    auth, redis = settings.auth, settings.shared_redis
    if auth is None:
        raise ConfigurationError("auth: set keys_file: PATH or keys: redis")
    url = "" if redis is None else redis.url.get_secret_value()
    return KeyPlace(auth.keys_file, url, known_names(settings))


def _keys(settings: Settings, links: RedisLinks, clock: Clock) -> HeldKeys | None:
    auth, redis = settings.auth, settings.shared_redis
    if auth is None:
        return None
    if auth.keys_file is not None:
        return FileKeys(auth.keys_file, known_names(settings), clock)
    if redis is None:
        raise ConfigurationError("auth.keys: redis needs the address of a Redis; set redis.url")
    link = links.to(redis.url.get_secret_value(), PATIENCE_S)
    return RedisKeys(link, redis.timeout_ms / 1000, clock)
