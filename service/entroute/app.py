"""The composition root: with `entroute.fleet` the one place that names concrete classes."""

import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog
from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry
from starlette.types import Scope

import entroute
from entroute.api import handlers
from entroute.api.answering import Answering, new_trace, walks
from entroute.api.auth import KeyRing
from entroute.api.cache import cache_routes
from entroute.api.embeddings import Embeddings, embedding_routes
from entroute.api.feedback import feedback_routes
from entroute.api.middleware import Edge
from entroute.api.responses.answers import Responses
from entroute.api.responses.keeping import ResponseKeeper
from entroute.api.responses.routes import response_routes
from entroute.api.routes import answer_routes, model_routes, ops_routes
from entroute.api.usage import UsageDesk, usage_routes
from entroute.backends.salting import TenantSalts
from entroute.cache.executions import KeptExecutions
from entroute.caching import check_semantic, fingerprint, kept_answers, serving
from entroute.deciding import deciding, profile_of
from entroute.fleet import Fleet
from entroute.gateway import Gateway, Parts, Recorder, result_of
from entroute.opening import Opener
from entroute.profile.profile import Profile
from entroute.protocols import Clock, Strategy, Tier
from entroute.settings import Settings
from entroute.shared import known_names
from entroute.strategies.parts import StrategyParts
from entroute.telemetry.caching import CacheMetrics, ExecutionMetrics
from entroute.telemetry.feedback import FeedbackMetrics
from entroute.telemetry.groups import GroupMetrics
from entroute.telemetry.keys import KeyMetrics
from entroute.telemetry.logs import RequestLog
from entroute.telemetry.metrics import Metrics
from entroute.telemetry.redis import RedisMetrics
from entroute.telemetry.responses import ResponseMetrics
from entroute.tenants.keys_file import check_key_file
from entroute.tenants.refusals import limited_by
from entroute.tools import Tools, built_tools
from entroute.verifiers import build_verifier
from entroute.verifiers.majority import Majority
from entroute.verifiers.parts import VerifierParts


def check_files(settings: Settings) -> None:
    """Refuse files and extras that cannot be used with the other settings, or are missing.

    Raises:
        ConfigurationError: A file is wrong; the keys name a tier or strategy that does not exist;
            the profile is of other models; the semantic cache is enabled without its extra.
    """
    profile_of(settings)
    check_semantic(settings)
    if settings.auth is not None and settings.auth.keys_file is not None:
        check_key_file(settings.auth.keys_file, known_names(settings))


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
    fleet = Fleet(settings, clock, ready_made=tiers, engine_urls=engine_urls or {})
    profile = profile_of(settings)
    tools = built_tools(settings, profile, clock)
    metrics = Metrics(CollectorRegistry())
    parts = _parts(settings, profile, fleet, tools, metrics, clock, rng)
    gateway = Gateway(parts)
    embeddings = Embeddings(
        fleet.embeddings,
        settings.limits.build(),
        parts.recorders,
        clock,
        allow_fields=settings.allow_fields,
        salt=_salts(settings),
    )
    metrics.export_in_flight(lambda: gateway.in_flight + embeddings.in_flight)
    _export(metrics.registry, tools, parts)
    return _application(_Built(settings, fleet, gateway, embeddings, parts, metrics, tools))


def _export(registry: CollectorRegistry, tools: Tools, parts: Parts) -> None:
    """Export what is not counted from traces."""
    registry.register(FeedbackMetrics(tools.feedback))
    registry.register(RedisMetrics(tools.shared.links))
    registry.register(KeyMetrics(tools.shared.keys))
    if isinstance(tools.programs, KeptExecutions):
        registry.register(ExecutionMetrics(tools.programs.counts))
    if parts.cache is not None:
        registry.register(CacheMetrics(parts.cache.discarded))


def _parts(  # noqa: PLR0913, PLR0917 - a composition root composes
    settings: Settings,
    profile: Profile | None,
    fleet: Fleet,
    tools: Tools,
    metrics: Metrics,
    clock: Clock,
    rng: random.Random | None,
) -> Parts:
    """Return what the walk is made of."""
    ways = StrategyParts(Majority(tools.symbolic), tools.programs)
    strategies = _strategies(settings, ways)
    decides = deciding(settings, profile, strategies, ways, tools.feedback, clock)
    decided_by = fingerprint(settings, profile)
    opener = Opener(
        fleet.tiers,
        settings.limits.build(),
        lambda option, run: build_verifier(
            option, VerifierParts(tools.symbolic, run, tools.programs, tools.rewards)
        ),
        clock,
        rng or random.Random(),  # noqa: S311 - nothing secret is drawn
        salt=_salts(settings),
    )
    return Parts(
        opener=opener,
        estimator=decides.estimator,
        policy=decides.policy,
        strategies=strategies,
        cache=kept_answers(settings, tools.shared.links, lambda: opener.models, decided_by, clock),
        recorders=_recorders(metrics, tools),
        load=fleet.load,
        fingerprint=decided_by,
        serving=serving(settings),
        clock=clock,
        plans=decides.plans,
    )


def _recorders(metrics: Metrics, tools: Tools) -> tuple[Recorder, ...]:
    """Return what every finished trace is told to."""
    limiter = tools.shared.limiter
    return (
        metrics,
        RequestLog(structlog.get_logger("entroute")),
        tools.feedback,
        limiter,
        tools.shared.usage,
        GroupMetrics(metrics.registry, lambda: limiter.leases_held),
    )


@dataclass(frozen=True, slots=True)
class _Built:
    """What the application is made of."""

    settings: Settings
    fleet: Fleet
    gateway: Gateway
    embeddings: Embeddings
    parts: Parts
    metrics: Metrics
    tools: Tools


def _refused(built: _Built) -> Callable[[Scope, Exception], None]:
    """Return what records a request that is answered with an error before its walk began."""

    def failed(scope: Scope, error: Exception) -> None:
        if walks(scope):
            return
        trace = new_trace(scope, streamed=False)
        trace.error, trace.result = type(error).__name__, result_of(error)
        trace.limited = limited_by(error)
        trace.finished = built.parts.clock()
        for recorder in built.parts.recorders:
            recorder.record(trace)

    return failed


def _application(built: _Built) -> FastAPI:
    """Put the edge around the gateway."""
    settings, fleet, failed = built.settings, built.fleet, _refused(built)
    app = FastAPI(
        title="entroute",
        version=entroute.__version__,
        description="OpenAI-compatible gateway with adaptive test-time compute.",
        lifespan=_lifespan(built),
        docs_url=None,
        redoc_url=None,
    )
    app.state.entroute = fleet
    answering = Answering(
        gateway=built.gateway,
        keys=KeyRing(built.tools.shared.keys, time.time),
        models=fleet.models,
        clock=built.parts.clock,
        keep_alive_s=settings.server.keep_alive_s,
        allow_fields=settings.allow_fields,
        limiter=built.tools.shared.limiter,
    )
    handlers.install(app, failed)
    for router in _routers(built, answering):
        app.include_router(router)
    app.add_middleware(
        Edge,
        max_body_bytes=settings.server.max_body_bytes,
        max_header_bytes=settings.server.max_header_bytes,
        failed=failed,
        clock=built.parts.clock,
    )
    return app


def _routers(built: _Built, answering: Answering) -> tuple[APIRouter, ...]:
    """Return every path."""
    fleet, cache, shared = built.fleet, built.parts.cache, built.tools.shared
    return (
        answer_routes(answering),
        response_routes(_responses(built, answering)),
        embedding_routes(built.embeddings, answering),
        model_routes(lambda: (*fleet.tiers(), *fleet.embeddings()), answering),
        feedback_routes(built.tools.feedback, answering.admit),
        cache_routes(None if cache is None else cache.stamps, answering.admit),
        usage_routes(UsageDesk(shared.usage, shared.limiter, shared.keys), answering),
        ops_routes(built.metrics.registry, fleet.not_ready),
    )


def _responses(built: _Built, answering: Answering) -> Responses:
    """Return what answers `/v1/responses`, its metrics registered."""
    how = built.settings.responses
    keeper = ResponseKeeper(built.tools.shared.store, how.ttl_s, how.max_bytes, how.store)
    built.metrics.registry.register(ResponseMetrics(keeper.counts))
    return Responses(answering, keeper, time.time)


def _lifespan(built: _Built) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return what opens connections when the server starts and closes them when it stops."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await built.tools.start(stack)
            if built.parts.cache is not None:
                stack.push_async_callback(built.parts.cache.answers.close)
                if (semantic := built.parts.cache.semantic) is not None:
                    stack.push_async_callback(semantic.close)
                    await semantic.start()
            await built.fleet.connect(stack, built.metrics.registry)
            stack.push_async_callback(built.gateway.close)
            yield

    return lifespan


def _salts(settings: Settings) -> Callable[[str], str]:
    """Return what keeps tenants' prefix caches apart; without keys there is one tenant only."""
    if settings.auth is None:
        return lambda _: ""
    key = settings.auth.cache_salt_key
    return TenantSalts("" if key is None else key.get_secret_value())


def _strategies(settings: Settings, parts: StrategyParts) -> dict[str, Strategy]:
    return {config.kind: config.build(parts) for config in settings.all_strategies}
