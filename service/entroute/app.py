"""The composition root: the one module that names concrete classes."""

import hashlib
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import httpx
import structlog
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.requests import Request

import entroute
from entroute.api import handlers
from entroute.api.answering import Answering, new_trace
from entroute.api.auth import KeyRing
from entroute.api.middleware import Edge
from entroute.api.routes import answer_routes, model_routes, ops_routes
from entroute.backends.balancing import build_balancer
from entroute.backends.health import HealthSweeps
from entroute.backends.pool import Pool
from entroute.backends.worker import Worker
from entroute.errors import ConfigurationError
from entroute.evidence import Load, TierLoad
from entroute.gateway import Gateway, Parts, result_of
from entroute.opening import Opener
from entroute.protocols import Cache, Clock, Strategy, Tier
from entroute.settings import Settings, TierSettings, WorkerSettings
from entroute.strategies.self_consistency import SelfConsistencyConfig
from entroute.telemetry.gauges import WorkerGauges
from entroute.telemetry.logs import RequestLog
from entroute.telemetry.metrics import Metrics
from entroute.verifiers import build_verifier
from entroute.verifiers.majority import Majority
from entroute.verifiers.symbolic import SymbolicEquality

_IDLE_CONNECTION_S = 3.0  # below the 5 s after which uvicorn and llama.cpp close idle ones


@dataclass(slots=True)
class State:
    """What changes over the life of an application."""

    pools: Sequence[Pool] = ()
    sweeps: HealthSweeps | None = None
    draining: bool = False
    fixed_tiers: tuple[Tier, ...] | None = None
    settings: tuple[TierSettings, ...] = field(default=())

    def tiers(self) -> tuple[Tier, ...]:
        """Return all tiers as they are now, cheapest first."""
        if self.fixed_tiers is not None:
            return self.fixed_tiers
        return tuple(
            Tier(
                name=pool.tier,
                model=settings.model,
                backend=pool,
                price=settings.price.build(),
                context_length=_context_length(settings) or pool.context_length,
                vision=settings.vision,
                tools=settings.tools,
                available=pool.available,
            )
            for settings, pool in zip(self.settings, self.pools, strict=True)
        )

    def load(self) -> Load:
        """Return what every tier is busy with."""
        tiers: dict[str, TierLoad] = {pool.tier: pool.load for pool in self.pools}
        return Load(tiers, 0.0 if self.sweeps is None else self.sweeps.age_s)

    def not_ready(self) -> str | None:
        """Return why requests should go elsewhere; losing workers is no reason."""
        if self.draining:
            return "draining"
        if self.fixed_tiers is None and (self.sweeps is None or self.sweeps.swept_at is None):
            return "starting"
        return None


def create_app(
    settings: Settings,
    *,
    tiers: Sequence[Tier] | None = None,
    engine_urls: Mapping[str, str] | None = None,
    clock: Clock = time.perf_counter,
    rng: random.Random | None = None,
) -> FastAPI:
    """Return the gateway as an ASGI application.

    Args:
        settings: The configuration.
        tiers: Ready-made tiers in place of the configured ones.
        engine_urls: Base URL by tier, of engines that were started for it.
        clock: Monotonic seconds.
        rng: Source of every random choice.

    Raises:
        ConfigurationError: A tier's engine is not running, or the key file is wrong.
    """
    state = State(
        fixed_tiers=None if tiers is None else tuple(tiers),
        settings=tuple(_with_engine(t, engine_urls or {}) for t in settings.tiers)
        if tiers is None
        else (),
    )
    symbolic = SymbolicEquality()
    metrics = Metrics(CollectorRegistry())
    parts = _parts(settings, state, symbolic, metrics, clock, rng)
    gateway = Gateway(parts)
    metrics.export_in_flight(lambda: gateway.in_flight)
    return _application(_Built(settings, state, gateway, parts.cache, metrics, symbolic, clock))


def _parts(  # noqa: PLR0913, PLR0917 - a composition root composes
    settings: Settings,
    state: State,
    symbolic: SymbolicEquality,
    metrics: Metrics,
    clock: Clock,
    rng: random.Random | None,
) -> Parts:
    """Return what the walk is made of."""
    strategies = _strategies(settings, symbolic)
    opener = Opener(
        state.tiers,
        settings.limits.build(),
        lambda option: build_verifier(option, symbolic),
        clock,
        rng or random.Random(),  # noqa: S311 - nothing secret is drawn
    )
    return Parts(
        opener=opener,
        estimator=settings.difficulty.build(),
        policy=settings.policy.build(strategies),
        strategies=strategies,
        cache=settings.cache.build(clock),
        recorders=(metrics, RequestLog(structlog.get_logger("entroute"))),
        load=state.load,
        fingerprint=_fingerprint(settings),
        clock=clock,
    )


@dataclass(frozen=True, slots=True)
class _Built:
    """What the application is made of."""

    settings: Settings
    state: State
    gateway: Gateway
    cache: Cache | None
    metrics: Metrics
    symbolic: SymbolicEquality
    clock: Clock


def _application(built: _Built) -> FastAPI:
    """Put the edge around the gateway."""
    settings, state = built.settings, built.state

    def refused(request: Request, error: Exception) -> None:
        trace = new_trace(request, streamed=False)
        trace.error, trace.result = type(error).__name__, result_of(error)
        trace.finished = built.clock()
        built.metrics.record(trace)

    app = FastAPI(
        title="entroute",
        version=entroute.__version__,
        description="OpenAI-compatible gateway with adaptive test-time compute.",
        lifespan=_lifespan(built),
        docs_url=None,
        redoc_url=None,
    )
    app.state.entroute = state
    answering = Answering(
        gateway=built.gateway,
        keys=KeyRing(None) if settings.auth is None else KeyRing.from_file(settings.auth.keys_file),
        models=lambda: {tier.name: tier.model for tier in state.tiers()},
        refused=refused,
        clock=built.clock,
        keep_alive_s=settings.server.keep_alive_s,
        allow_fields=settings.allow_fields,
    )
    handlers.install(app, refused)
    app.include_router(answer_routes(answering))
    app.include_router(model_routes(state.tiers, answering))
    app.include_router(ops_routes(built.metrics.registry, state.not_ready))
    app.add_middleware(
        Edge,
        max_body_bytes=settings.server.max_body_bytes,
        max_header_bytes=settings.server.max_header_bytes,
        clock=built.clock,
    )
    return app


def _lifespan(built: _Built) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return what opens connections when the server starts and closes them when it stops."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(built.symbolic.close)
            if built.cache is not None:
                stack.push_async_callback(built.cache.close)
            if built.state.fixed_tiers is None:
                await _connect(built, stack)
            stack.push_async_callback(built.gateway.close)
            yield

    return lifespan


async def _connect(built: _Built, stack: AsyncExitStack) -> None:
    """Open the pools and sweep them once."""
    state, health = built.state, built.settings.health
    session = await stack.enter_async_context(_session(built.settings))
    client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
    state.pools = [_pool(tier, built.settings, session, built.clock) for tier in state.settings]
    built.metrics.registry.register(WorkerGauges(state.pools))
    state.sweeps = HealthSweeps(
        state.pools,
        client,
        built.clock,
        interval_s=health.interval_s,
        timeout_s=health.timeout_s,
    )
    await state.sweeps.start()
    stack.push_async_callback(state.sweeps.stop)


def _session(settings: Settings) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_CONNECTION_S)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=settings.timeouts.connect_s),
        headers={"accept-encoding": "identity"},
    )


def _pool(
    tier: TierSettings, settings: Settings, session: aiohttp.ClientSession, clock: Clock
) -> Pool:
    workers = [
        Worker(
            worker.url,
            model=tier.model,
            tier=tier.name,
            session=session,
            clock=clock,
            timeouts=settings.timeouts.build(),
            api_key=worker.api_key.get_secret_value() if worker.api_key else None,
        )
        for worker in tier.workers
    ]
    balancer = build_balancer(tier.balancer)
    return Pool(tier.name, workers, balancer, attempts=settings.retries.attempts)


def _strategies(settings: Settings, symbolic: SymbolicEquality) -> dict[str, Strategy]:
    voter = Majority(symbolic)
    built: dict[str, Strategy] = {}
    for config in settings.all_strategies:
        if isinstance(config, SelfConsistencyConfig):
            built[config.kind] = config.build(voter)
        else:
            built[config.kind] = config.build()
    return built


def _with_engine(tier: TierSettings, urls: Mapping[str, str]) -> TierSettings:
    """Return a tier whose engine is its one worker.

    Raises:
        ConfigurationError: The engine was not started.
    """
    if tier.engine is None:
        return tier
    if tier.name not in urls:
        raise ConfigurationError(f"tiers: the engine of '{tier.name}' is not running")
    worker = WorkerSettings(url=urls[tier.name])
    return tier.model_copy(update={"workers": (worker,)})


def _context_length(tier: TierSettings) -> int | None:
    engine = tier.engine
    return tier.context_length or (None if engine is None else engine.context_length)


def _fingerprint(settings: Settings) -> str:
    """Return a digest of what is configured and can change an answer, models apart."""
    parts = settings.model_dump_json(
        include={"difficulty", "policy", "strategies", "limits"},
    )
    return hashlib.blake2b(parts.encode(), digest_size=8).hexdigest()
