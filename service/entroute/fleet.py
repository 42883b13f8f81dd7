"""The configured tiers as running pools, and the engines that some of them own.

Built here, swept for health, closed with whoever runs them.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import httpx
from prometheus_client import CollectorRegistry

from entroute.backends.embedding import EmbeddingPool
from entroute.backends.embedding_tier import EmbeddingTier
from entroute.backends.filling_in import FillingIn
from entroute.backends.health import HealthSweeps
from entroute.backends.hedging import Hedging
from entroute.backends.http_worker import HttpWorker
from entroute.backends.pool import Pool, WorkerPool
from entroute.backends.wire import VLLM
from entroute.decisions import Load
from entroute.embedded.engine import Engine
from entroute.errors import ConfigurationError
from entroute.pools import Pools
from entroute.protocols import Clock, Tier
from entroute.sessions import Sessions
from entroute.settings import Settings
from entroute.shedding import Shedding
from entroute.spending import Price
from entroute.telemetry.discovery import DiscoveryMetrics
from entroute.telemetry.gauges import WorkerGauges
from entroute.telemetry.queues import QueueMetrics
from entroute.telemetry.retries import RetryMetrics
from entroute.tier_settings import EmbeddingSettings, TierSettings, WorkerSettings

_FIRST_SEARCH_S = 10.0  # for the first workers that are found; then the gateway is ready without


class Fleet:
    """All tiers, their pools and whether the gateway should be sent requests.

    Args:
        settings: The configuration.
        clock: Monotonic seconds.
        ready_made: Tiers in place of the configured ones; nothing is connected then.
        engine_urls: Base URL by tier, of engines that were started for it.
        sessions: Connections to workers, shared with other fleets.
        rng: Draws jitter.

    Attributes:
        settings: The configuration.
        models: Model by tier.
        shedding: What load leaves of requests.

    Raises:
        ConfigurationError: A tier's engine is not running.
    """

    def __init__(  # noqa: PLR0913 - the last three are keyword-only
        self,
        settings: Settings,
        clock: Clock,
        *,
        ready_made: Sequence[Tier] | None,
        engine_urls: Mapping[str, str],
        sessions: Sessions | None = None,
        rng: Random | None = None,
    ) -> None:
        self._rng = rng or Random()  # noqa: S311 - nothing secret is drawn
        self._sessions = sessions or Sessions()
        self.settings = settings
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
        self.shedding = Shedding(settings.shed.build(), self.load)

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
            for settings, pool in zip(self.settings.embeddings, self._embedding_pools, strict=False)
        )

    def workers(self, tier: str) -> list[HttpWorker]:
        """Return the workers of a tier that completes, as they are now."""
        pool = self._pool(tier)
        return [] if pool is None else [member.worker for member in pool.members]

    def hedging(self, tier: str) -> Hedging | None:
        """Return when calls to a tier are hedged, None for never."""
        after_s = self.settings.retries.hedge_after_s
        pool = self._pool(tier)
        return None if after_s is None or pool is None else Hedging(after_s, pool.retrying)

    def may_repeat(self, tier: str) -> bool:
        """Whether a tier's retry budget holds one more answer, made again from its beginning."""
        pool = self._pool(tier)
        return pool is None or pool.retrying.repeats()

    def _pool(self, tier: str) -> Pool | None:
        """Return the pool of a tier that completes, None before `connect`."""
        return next((pool for pool in self._pools if pool.tier == tier), None)

    def load(self) -> Load:
        """Return what every tier is busy with."""
        age_s = 0.0 if self._sweeps is None else self._sweeps.age_s
        return Load({pool.tier: pool.load for pool in self._pools}, age_s)

    def not_ready(self) -> str | None:
        """Return why requests should go elsewhere, or None; losing workers is no reason."""
        swept = self._sweeps is not None and self._sweeps.swept_at is not None
        return None if swept or self._ready_made is not None else "starting"

    async def connect(self, stack: AsyncExitStack, registry: CollectorRegistry) -> None:
        """Build the pools, sweep them once, and keep sweeping until `stack` is closed."""
        if self._ready_made is not None:
            return
        session = await stack.enter_async_context(self._sessions.lease(self.settings))
        client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        building = Pools(self.settings, session, self._clock, self._rng)
        self._pools = [building.pool(tier) for tier in self._configured]
        self._embedding_pools = [building.embedding_pool(tier) for tier in self.settings.embeddings]
        pools: list[Pool | EmbeddingPool] = [*self._pools, *self._embedding_pools]
        registry.register(WorkerGauges(pools))
        registry.register(RetryMetrics(pools))
        registry.register(QueueMetrics(pools, self.shedding))
        health = self.settings.health
        self._sweeps = HealthSweeps(
            pools,
            client,
            self._clock,
            interval_s=health.interval_s,
            timeout_s=health.timeout_s,
        )
        rosters = building.rosters(self._sweeps)
        registry.register(DiscoveryMetrics(rosters))
        for roster in rosters:
            stack.push_async_callback(roster.stop)
        await asyncio.gather(*(roster.start(_FIRST_SEARCH_S) for roster in rosters))
        await self._sweeps.start()
        stack.push_async_callback(self._sweeps.stop)

    def adopt(self, previous: "Fleet") -> None:
        """Go on with what is known of workers that stay; both fleets are connected.

        A worker of the same address, model, key and timeouts is taken over as it is: its health,
        its breaker, the calls that it is answering.
        """
        self.shedding.counts = previous.shedding.counts
        before = {pool.tier: pool for pool in previous.pools}
        taken = previous.settings.timeouts == self.settings.timeouts
        for pool in self.pools:
            if pool.tier in before:
                _carry(before[pool.tier], pool, taken=taken)

    @property
    def pools(self) -> list[WorkerPool[Any]]:
        """Every tier's pool; none before `connect`."""
        return [*self._pools, *self._embedding_pools]


def _carry(source: WorkerPool[Any], target: WorkerPool[Any], *, taken: bool) -> None:
    """Carry what is known of a tier over to a pool of the same tier.

    Args:
        source: The pool so far.
        target: The pool from now on.
        taken: Whether workers of both are called alike.
    """
    target.attempts_by_outcome = source.attempts_by_outcome
    target.outliers.ejections = source.outliers.ejections
    target.retrying.go_on_from(source.retrying)
    target.queue.follow(source.queue)
    if not taken:
        return
    known = {_identity(member.worker): member for member in source.members}
    # A search that failed found nothing, which does not say that nothing is there.
    found = target.members or (source.members if target.searched else ())
    members = [known.get(_identity(member.worker), member) for member in found]
    for member in members:
        member.care(target.care)
        if known and _identity(member.worker) not in known:
            member.joined()
    target.replace(members)


def _identity(worker: HttpWorker) -> tuple[object, ...]:
    return type(worker), worker.url, worker.model, worker.headers.get("authorization")


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
