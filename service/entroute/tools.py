"""What the walk and the edge use beside the walk's own parts, each with a life of its own."""

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from uuid import uuid4

import httpx

import entroute
from entroute.cache import NoCacheConfig
from entroute.cache.executions import KeptExecutions
from entroute.cache.key import cache_key
from entroute.cache.parts import CacheParts
from entroute.cache.semantic.building import Finding
from entroute.cache.semantic.config import LocalEmbedderConfig
from entroute.embedded.embedder import LocalEmbedder, local_files, require_extra
from entroute.errors import ConfigurationError
from entroute.feedback.feedback import Feedback, Origin
from entroute.profile.profile import Profile
from entroute.protocols import Clock, Sandbox
from entroute.redis_link.links import RedisLinks
from entroute.sandbox.server import StartedSandbox
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
from entroute.types import ChatRequest, Options, Principal
from entroute.verifiers.reward_endpoint import RewardClient
from entroute.verifiers.symbolic import SymbolicEquality

STORE_BYTES = 64 * 1024 * 1024
"""Bytes of shared state that a gateway without Redis keeps."""

_LATE_S = 60.0  # after a request's deadline, what was set aside for it is dropped


@dataclass(frozen=True, slots=True)
class Tools:
    """What strategies and verifiers use, each with a life of its own.

    Attributes:
        symbolic: Compares formulas.
        sandbox: Runs programs, None where none is configured.
        programs: Runs them too, equal ones once where results are kept.
        rewards: Reward models by name.
        client: Their connections.
        feedback: Takes outcome labels.
        links: Connections to Redis.
        store: State shared with other gateways where there is a Redis, else of this process.
        keys: API keys, None where everyone may ask.
        limiter: Keeps them within their limits.
        usage: What they have used.
    """

    symbolic: SymbolicEquality
    sandbox: StartedSandbox | None
    rewards: Mapping[str, RewardClient]
    client: httpx.AsyncClient
    feedback: Feedback
    links: RedisLinks
    store: Store
    keys: HeldKeys | None
    limiter: Limiter
    usage: UsageKeeper
    programs: Sandbox | None

    async def start(self, stack: AsyncExitStack) -> None:
        """Start them, each to be closed by `stack`."""
        stack.push_async_callback(self.client.aclose)
        stack.push_async_callback(self.links.close)
        self.symbolic.start()
        stack.push_async_callback(self.symbolic.close)
        if self.sandbox is not None:
            stack.push_async_callback(self.sandbox.close)
            await self.sandbox.start()
        stack.push_async_callback(self.feedback.close)
        await self.feedback.start()
        if self.keys is not None:
            stack.push_async_callback(self.keys.close)
            await self.keys.start()
        stack.push_async_callback(self.limiter.close)
        await self.limiter.start()
        stack.push_async_callback(self.usage.close)
        await self.usage.start()


def built_tools(settings: Settings, profile: Profile | None, clock: Clock) -> Tools:
    """Return them, not started."""
    origin = Origin() if profile is None else Origin.of(profile.digest, profile.made.at)
    links = RedisLinks(clock)
    client = httpx.AsyncClient(trust_env=False)  # a proxy has no business with reward models
    sandbox = None if settings.sandbox is None else settings.sandbox.build()
    store = _store(settings, links, clock)
    return Tools(
        SymbolicEquality(),
        sandbox,
        {endpoint.name: RewardClient(endpoint, client) for endpoint in settings.rewards},
        client,
        settings.feedback.build(clock, origin, links),
        links,
        store,
        _keys(settings, links, clock),
        _limiter(settings, links, clock),
        _usage(settings, links),
        _programs(settings, sandbox, store),
    )


def _store(settings: Settings, links: RedisLinks, clock: Clock) -> Store:
    redis = settings.shared_redis
    if redis is None:
        return MemoryStore(STORE_BYTES, clock)
    return RedisStore(links.to(redis.url.get_secret_value(), redis.timeout_ms / 1000))


def _programs(settings: Settings, sandbox: Sandbox | None, store: Store) -> Sandbox | None:
    """Return what runs programs, whose results are kept where votes are resumed."""
    cache, config = settings.cache, settings.sandbox
    if sandbox is None or config is None or isinstance(cache, NoCacheConfig) or not cache.resume:
        return sandbox
    where = config.model_dump_json(exclude={"workers", "warm", "queue", "start_s", "api_key"})
    return KeptExecutions(
        sandbox,
        store,
        cache.ttl_s,
        f"{entroute.__version__} {platform.python_version()} {where}",
        across_tenants=cache.across_tenants,
    )


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


def _limiter(settings: Settings, links: RedisLinks, clock: Clock) -> Limiter:
    auth, redis = settings.auth, settings.shared_redis
    return Limiter(
        MemoryLeases(time.time)
        if redis is None
        else RedisLeases(links.to(redis.url.get_secret_value(), redis.timeout_ms / 1000)),
        clock,
        time.time,
        uuid4().hex,
        "open" if auth is None else auth.when_redis_fails,
        price=settings.tiers[0].price.build(),
        expire_s=settings.limits.deadline_s + _LATE_S,
    )


def _usage(settings: Settings, links: RedisLinks) -> UsageKeeper:
    redis = settings.shared_redis
    book = (
        MemoryUsage()
        if redis is None
        else RedisUsage(links.to(redis.url.get_secret_value(), redis.timeout_ms / 1000))
    )
    return UsageKeeper(book, time.time, uuid4().hex)


def check_semantic(settings: Settings) -> None:
    """Refuse a semantic cache that could not embed anything.

    Raises:
        ConfigurationError: It is enabled, and the extra `semantic` is not installed.
    """
    if not isinstance(settings.cache, NoCacheConfig) and settings.cache.semantic.enabled:
        require_extra()


def kept_answers(
    settings: Settings,
    links: RedisLinks,
    models: Callable[[], Sequence[str]],
    fingerprint: str,
    clock: Clock,
) -> CacheParts | None:
    """Return what keeps answers and finds them, by meaning where that is enabled.

    Raises:
        ConfigurationError: As `check_semantic`.
    """
    check_semantic(settings)
    cache = settings.cache
    kept = cache.build(clock, links)
    if kept is None or isinstance(cache, NoCacheConfig):
        return None

    def key_of(request: ChatRequest, options: Options, principal: Principal) -> str:
        across = cache.across_tenants
        return cache_key(
            request,
            options,
            principal,
            models=models(),
            fingerprint=fingerprint,
            across_tenants=across,
        )

    def embedder(config: LocalEmbedderConfig) -> LocalEmbedder:
        return LocalEmbedder(lambda: local_files(lambda *_: None), config.threads)

    return cache.finding(kept, links, Finding(embedder, key_of))
