"""The pools of the configured tiers: clients of their workers, and what finds workers."""

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any, TypeVar

import aiohttp
from pydantic import SecretStr

from entroute.backends.balancing import build_balancer
from entroute.backends.discovery import DiscoverySettings
from entroute.backends.discovery.roster import Roster
from entroute.backends.embedding import EmbeddingPool, EmbeddingWorker
from entroute.backends.health import HealthSweeps
from entroute.backends.http_worker import HttpWorker
from entroute.backends.member import Care, Member
from entroute.backends.pool import Pool, WorkerPool
from entroute.backends.queueing import Room
from entroute.backends.retrying import Retrying
from entroute.backends.worker import Worker
from entroute.backends.worker_load import Reports
from entroute.protocols import Clock
from entroute.settings import Settings
from entroute.tier_settings import EmbeddingSettings, TierSettings

_IDLE_CONNECTION_S = 3.0  # below the 5 s after which uvicorn and llama.cpp close idle ones
_SWEEPS_FRESH = 2  # what a worker said of its load says nothing after so many sweeps without it

W = TypeVar("W", bound=HttpWorker)
P = TypeVar("P", bound=WorkerPool[Any])
AnyTier = TierSettings | EmbeddingSettings


class Pools:
    """Builds pools.

    Args:
        settings: The configuration.
        session: Connections of all workers.
        clock: Monotonic seconds.
        rng: Draws jitter.
    """

    def __init__(
        self, settings: Settings, session: aiohttp.ClientSession, clock: Clock, rng: Random
    ) -> None:
        self._settings = settings
        self._session = session
        self._clock = clock
        self._rng = rng
        self._care = Care(
            settings.breaker.build(), settings.outliers.build(), settings.slow_start_s, rng
        )
        self._reports = Reports(clock, _SWEEPS_FRESH * settings.health.interval_s)
        self._built: list[tuple[AnyTier, WorkerPool[Any], type[HttpWorker]]] = []

    def pool(self, tier: TierSettings) -> Pool:
        """Return the pool of a tier that completes."""
        return self._pool(Pool, Worker, tier)

    def embedding_pool(self, tier: EmbeddingSettings) -> EmbeddingPool:
        """Return the pool of a tier that embeds."""
        return self._pool(EmbeddingPool, EmbeddingWorker, tier)

    def _pool(self, kind: type[P], worker: type[HttpWorker], tier: AnyTier) -> P:
        pool = kind(
            tier.name,
            self._workers(worker, tier),
            build_balancer(tier.balancer, self._reports),
            retrying=Retrying(self._settings.retries.build(), self._clock, self._rng),
            care=self._care,
            room=Room(tier.max_in_flight, self._settings.queue.build(), self._clock),
        )
        self._built.append((tier, pool, worker))
        return pool

    def rosters(self, sweeps: HealthSweeps) -> list[Roster[Any]]:
        """Return what finds the workers of every pool built so far that lists none."""
        return [
            self._roster(tier.discover, tier, pool, kind, sweeps)
            for tier, pool, kind in self._built
            if tier.discover is not None
        ]

    def _roster(
        self,
        found: DiscoverySettings,
        tier: AnyTier,
        pool: WorkerPool[Any],
        kind: type[HttpWorker],
        sweeps: HealthSweeps,
    ) -> Roster[Any]:
        async def look(members: Sequence[Member[Any]]) -> None:
            await asyncio.gather(*(sweeps.ask(member, tier.name) for member in members))

        def build(url: str) -> HttpWorker:
            return self._worker(kind, tier, url, found.api_key)

        return Roster(pool, found.build(), found.place, build, look)

    def _workers(self, kind: type[W], tier: AnyTier) -> list[W]:
        return [self._worker(kind, tier, worker.url, worker.api_key) for worker in tier.workers]

    def _worker(
        self,
        kind: type[W],
        tier: AnyTier,
        url: str,
        api_key: SecretStr | None,
    ) -> W:
        return kind(
            url,
            model=tier.model,
            tier=tier.name,
            session=self._session,
            clock=self._clock,
            timeouts=self._settings.timeouts.build(),
            api_key=api_key.get_secret_value() if api_key else None,
        )


def session_of(settings: Settings) -> aiohttp.ClientSession:
    """Return the connections of all workers, to be closed by whoever asks."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_CONNECTION_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=settings.timeouts.connect_s),
        headers={"accept-encoding": "identity"},
    )
