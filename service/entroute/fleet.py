"""The configured tiers as running pools, and the engines that some of them own.

Built here, swept for health, closed with whoever runs them.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import aiohttp
import httpx
from prometheus_client import CollectorRegistry

from entroute.backends.balancing import build_balancer
from entroute.backends.embedding import EmbeddingPool, EmbeddingWorker
from entroute.backends.embedding_tier import EmbeddingTier
from entroute.backends.filling_in import FillingIn
from entroute.backends.health import HealthSweeps
from entroute.backends.http_worker import HttpWorker
from entroute.backends.pool import Pool
from entroute.backends.wire import VLLM
from entroute.backends.worker import Worker
from entroute.decisions import Load
from entroute.embedded.engine import Engine
from entroute.errors import ConfigurationError
from entroute.protocols import Clock, Tier
from entroute.settings import Settings
from entroute.spending import Price
from entroute.telemetry.gauges import WorkerGauges
from entroute.tier_settings import EmbeddingSettings, TierSettings, WorkerSettings

_IDLE_CONNECTION_S = 3.0  # below the 5 s after which uvicorn and llama.cpp close idle ones

W = TypeVar("W", bound=HttpWorker)


class Fleet:
    """All tiers, their pools and whether the gateway should be sent requests.

    Args:
        settings: The configuration.
        clock: Monotonic seconds.
        ready_made: Tiers in place of the configured ones; nothing is connected then.
        engine_urls: Base URL by tier, of engines that were started for it.

    Attributes:
        draining: Whether the server has been asked to stop.
        models: Model by tier.

    Raises:
        ConfigurationError: A tier's engine is not running.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        ready_made: Sequence[Tier] | None,
        engine_urls: Mapping[str, str],
    ) -> None:
        self.draining = False
        self._settings = settings
        self._clock = clock
        self._ready_made = None if ready_made is None else tuple(ready_made)
        self._configured = (
            [_with_engine(tier, engine_urls) for tier in settings.tiers]
            if ready_made is None
            else []
        )
        self.models = {tier.name: tier.model for tier in self._ready_made or self._configured}
        self._pools: list[Pool] = []
        self._embedding_pools: list[EmbeddingPool] = []
        self._sweeps: HealthSweeps | None = None

    def tiers(self) -> tuple[Tier, ...]:
        """Return all tiers as they are now, cheapest first; none before `connect`."""
        if self._ready_made is not None:
            return self._ready_made
        return tuple(
            _tier(settings, pool)
            for settings, pool in zip(self._configured, self._pools, strict=False)
        )

    def embeddings(self) -> tuple[EmbeddingTier, ...]:
        """Return all tiers that embed, as they are configured; none before `connect`."""
        return tuple(
            _embedding_tier(settings, pool)
            for settings, pool in zip(
                self._settings.embeddings, self._embedding_pools, strict=False
            )
        )

    def load(self) -> Load:
        """Return what every tier is busy with."""
        age_s = 0.0 if self._sweeps is None else self._sweeps.age_s
        return Load({pool.tier: pool.load for pool in self._pools}, age_s)

    def not_ready(self) -> str | None:
        """Return why requests should go elsewhere, or None; losing workers is no reason."""
        if self.draining:
            return "draining"
        swept = self._sweeps is not None and self._sweeps.swept_at is not None
        return None if swept or self._ready_made is not None else "starting"

    async def connect(self, stack: AsyncExitStack, registry: CollectorRegistry) -> None:
        """Build the pools, sweep them once, and keep sweeping until `stack` is closed."""
        if self._ready_made is not None:
            return
        session = await stack.enter_async_context(_session(self._settings))
        client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        self._pools = [self._pool(tier, session) for tier in self._configured]
        self._embedding_pools = [
            self._embedding_pool(tier, session) for tier in self._settings.embeddings
        ]
        pools: list[Pool | EmbeddingPool] = [*self._pools, *self._embedding_pools]
        registry.register(WorkerGauges(pools))
        health = self._settings.health
        self._sweeps = HealthSweeps(
            pools,
            client,
            self._clock,
            interval_s=health.interval_s,
            timeout_s=health.timeout_s,
        )
        await self._sweeps.start()
        stack.push_async_callback(self._sweeps.stop)

    def _pool(self, tier: TierSettings, session: aiohttp.ClientSession) -> Pool:
        workers = self._workers(Worker, tier, session)
        retries = self._settings.retries.build()
        return Pool(tier.name, workers, build_balancer(tier.balancer), retries=retries)

    def _embedding_pool(
        self, tier: EmbeddingSettings, session: aiohttp.ClientSession
    ) -> EmbeddingPool:
        workers = self._workers(EmbeddingWorker, tier, session)
        retries = self._settings.retries.build()
        return EmbeddingPool(tier.name, workers, build_balancer(tier.balancer), retries=retries)

    def _workers(
        self,
        kind: type[W],
        tier: TierSettings | EmbeddingSettings,
        session: aiohttp.ClientSession,
    ) -> list[W]:
        return [
            kind(
                worker.url,
                model=tier.model,
                tier=tier.name,
                session=session,
                clock=self._clock,
                timeouts=self._settings.timeouts.build(),
                api_key=worker.api_key.get_secret_value() if worker.api_key else None,
            )
            for worker in tier.workers
        ]


def _tier(settings: TierSettings, pool: Pool) -> Tier:
    engine = settings.engine
    declared = settings.context_length or (None if engine is None else engine.context_length)
    tokens = settings.fill_in_middle
    return Tier(
        name=settings.name,
        model=settings.model,
        backend=pool if tokens is None else FillingIn(pool, tokens.build()),
        price=settings.price.build(),
        context_length=declared or pool.context_length,
        vision=settings.vision,
        tools=settings.tools,
        available=pool.available,
        continues=_continues(pool) if settings.continues is None else settings.continues,
        fills=tokens is not None or settings.suffix == "native",
        echoes=_echoes(pool),
    )


def _embedding_tier(settings: EmbeddingSettings, pool: EmbeddingPool) -> EmbeddingTier:
    return EmbeddingTier(
        name=settings.name,
        model=settings.model,
        pool=pool,
        price=Price(prompt=settings.price.prompt),
        dimensions=settings.dimensions,
        max_inputs=settings.max_inputs,
        context_length=settings.context_length or pool.context_length,
    )


def _continues(pool: Pool) -> bool:
    """Whether every worker that may be called, or was asked before, goes on with an answer."""
    known = [m.worker.continues for m in pool.members if m.healthy or m.worker.engine]
    return bool(known) and all(known)


def _echoes(pool: Pool) -> bool:
    """Whether every worker that may be called, or was asked before, echoes a prompt itself."""
    known = [m.worker.engine for m in pool.members if m.healthy or m.worker.engine]
    return bool(known) and all(engine == VLLM for engine in known)


def _session(settings: Settings) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_CONNECTION_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=settings.timeouts.connect_s),
        headers={"accept-encoding": "identity"},
    )


def _with_engine(tier: TierSettings, urls: Mapping[str, str]) -> TierSettings:
    """Return a tier whose engine is its one worker.

    Raises:
        ConfigurationError: The engine was not started.
    """
    if tier.engine is None:
        return tier
    if tier.name not in urls:
        raise ConfigurationError(f"tiers: the engine of '{tier.name}' is not running")
    return tier.model_copy(update={"workers": (WorkerSettings(url=urls[tier.name]),)})


def built_engines(settings: Settings, resolve: Callable[[str], Path]) -> dict[str, Engine]:
    """Return every tier's engine, by tier, its weights on this machine; blocks while they come.

    Args:
        settings: The configuration.
        resolve: `Weights.resolve`.

    Raises:
        WeightsError: Weights are missing and cannot be fetched.
    """
    owning = [tier for tier in settings.tiers if tier.engine is not None]
    return {
        tier.name: tier.engine.build(tier.model, len(owning), resolve)
        for tier in owning
        if tier.engine is not None
    }


@asynccontextmanager
async def running_engines(engines: Collection[Engine]) -> AsyncIterator[None]:
    """Start engines, all at the same time; stop them on the way out."""
    async with AsyncExitStack() as stack:
        for engine in engines:
            stack.push_async_callback(engine.stop)
        async with asyncio.TaskGroup() as group:
            for engine in engines:
                group.create_task(engine.start())
        yield
