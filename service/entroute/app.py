"""The composition root: with `entroute.fleet` the one place that names concrete classes."""

import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

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
from entroute.api.openapi import described
from entroute.api.responses.answers import Responses
from entroute.api.responses.routes import response_routes
from entroute.api.routes import MetricsPage, answer_routes, model_routes, ops_routes, own_page
from entroute.api.usage import UsageDesk, usage_routes
from entroute.backends.salting import TenantSalts
from entroute.caching import check_semantic, fingerprint, kept_answers, keyed, serving
from entroute.deciding import deciding, profile_of
from entroute.fleet import Fleet
from entroute.gateway import Gateway, Parts, result_of
from entroute.lasting import Generation, Lasting, built_lasting
from entroute.opening import Opener
from entroute.profile.profile import Profile
from entroute.protocols import Clock, Strategy, Tier
from entroute.settings import Settings
from entroute.shared import known_names
from entroute.strategies.parts import StrategyParts
from entroute.telemetry.tracing import require_extra
from entroute.tenants.keys_file import check_key_file
from entroute.tenants.refusals import limited_by
from entroute.verifiers import build_verifier
from entroute.verifiers.majority import Majority
from entroute.verifiers.parts import VerifierParts


def check_files(settings: Settings) -> None:
    """Refuse files and extras that cannot be used with the other settings, or are missing.

    Raises:
        ConfigurationError: A file is wrong; the keys name a tier or strategy that does not exist;
            the profile is of other models; the semantic cache is enabled without its extra, or
            tracing without its own.
    """
    profile_of(settings)
    check_semantic(settings)
    require_extra(settings.tracing)
    if settings.auth is not None and settings.auth.keys_file is not None:
        check_key_file(settings.auth.keys_file, known_names(settings))


def create_app(  # noqa: PLR0913 - a composition root composes
    settings: Settings,
    *,
    tiers: Sequence[Tier] | None = None,
    engine_urls: Mapping[str, str] | None = None,
    clock: Clock = time.perf_counter,
    rng: random.Random | None = None,
    metrics_page: MetricsPage = own_page,
    lasting: Lasting | None = None,
) -> FastAPI:
    """Return the gateway as an ASGI application.

    Args:
        settings: The configuration.
        tiers: Ready-made tiers in place of the configured ones.
        engine_urls: Base URL by tier, of engines that were started for it.
        clock: Monotonic seconds.
        rng: Source of every random choice.
        metrics_page: Returns the metrics of the whole gateway.
        lasting: Of a running gateway, whose next generation this is; else the application makes
            its own, starts and closes it.

    Raises:
        ConfigurationError: A tier's engine is not running, or the key file is wrong.
    """
    profile = profile_of(settings)
    kept = lasting or built_lasting(
        settings, profile, lambda tools: kept_answers(settings, tools.shared.links, clock), clock
    )
    fleet = Fleet(
        settings,
        clock,
        ready_made=tiers,
        engine_urls=engine_urls or {},
        sessions=kept.sessions,
        rng=rng,
    )
    parts = _parts(settings, profile, fleet, kept, clock, rng)
    gateway = Gateway(parts)
    embeddings = _embeddings(settings, fleet, parts)
    generation = Generation(
        settings,
        profile,
        fleet,
        lambda: gateway.in_flight + embeddings.in_flight,
        CollectorRegistry(),
    )
    built = _Built(settings, generation, gateway, embeddings, parts, kept, metrics_page)
    return _application(built)


def _parts(  # noqa: PLR0913, PLR0917 - a composition root composes
    settings: Settings,
    profile: Profile | None,
    fleet: Fleet,
    lasting: Lasting,
    clock: Clock,
    rng: random.Random | None,
) -> Parts:
    """Return what the walk is made of."""
    tools = lasting.of(settings)
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
        hedging=fleet.hedging,
        shedding=fleet.shedding,
    )
    return Parts(
        opener=opener,
        estimator=decides.estimator,
        policy=decides.policy,
        strategies=strategies,
        cache=keyed(lasting.cache, lambda: opener.models, decided_by),
        recorders=lasting.recorders,
        load=fleet.load,
        may_repeat=fleet.may_repeat,
        fingerprint=decided_by,
        serving=serving(settings),
        clock=clock,
        plans=decides.plans,
    )


def _embeddings(settings: Settings, fleet: Fleet, parts: Parts) -> Embeddings:
    """Return what embeds."""
    return Embeddings(
        fleet.embeddings,
        settings.limits.build(),
        parts.recorders,
        parts.clock,
        allow_fields=settings.allow_fields,
        salt=_salts(settings),
    )


@dataclass(frozen=True, slots=True)
class _Built:
    """What the application is made of."""

    settings: Settings
    generation: Generation
    gateway: Gateway
    embeddings: Embeddings
    parts: Parts
    lasting: Lasting
    metrics_page: MetricsPage


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
    settings, lasting, failed = built.settings, built.lasting, _refused(built)
    shared = lasting.tools.shared
    app = FastAPI(
        title="entroute",
        version=entroute.__version__,
        description="OpenAI-compatible gateway with adaptive test-time compute.",
        lifespan=_lifespan(built),
        docs_url=None,
        redoc_url=None,
        # FastAPI's own would tell of each request again, with what its body holds.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.settings, app.state.lasting = settings, lasting
    app.state.registry = lasting.metrics.registry
    answering = Answering(
        gateway=built.gateway,
        keys=KeyRing(shared.keys, time.time),
        models=built.generation.fleet.models,
        clock=built.parts.clock,
        keep_alive_s=settings.server.keep_alive_s,
        allow_fields=settings.allow_fields,
        limiter=shared.limiter,
    )
    handlers.install(app, failed)
    app.openapi = described(app, keys=settings.auth is not None)  # type: ignore[method-assign]
    for router in _routers(built, answering):
        app.include_router(router)
    app.add_middleware(
        Edge,
        max_body_bytes=settings.server.max_body_bytes,
        max_header_bytes=settings.server.max_header_bytes,
        receive_s=settings.server.receive_s,
        failed=failed,
        clock=built.parts.clock,
        drain=lasting.drain,
        stories=None if lasting.tracing is None else lasting.tracing.stories,
    )
    return app


def _routers(built: _Built, answering: Answering) -> tuple[APIRouter, ...]:
    """Return every path."""
    lasting, fleet, cache = built.lasting, built.generation.fleet, built.parts.cache
    shared = lasting.tools.shared
    return (
        answer_routes(answering),
        response_routes(Responses(answering, lasting.responses, time.time)),
        embedding_routes(built.embeddings, answering),
        model_routes(lambda: (*fleet.tiers(), *fleet.embeddings()), answering),
        feedback_routes(lasting.tools.feedback, answering.admit),
        cache_routes(None if cache is None else cache.stamps, answering.admit),
        usage_routes(UsageDesk(shared.usage, shared.limiter, shared.keys), answering),
        ops_routes(
            lasting.metrics.registry,
            lambda: "draining" if lasting.drain.begun else fleet.not_ready(),
            built.metrics_page,
        ),
    )


def _lifespan(built: _Built) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return what opens connections when the server starts and closes them when it stops."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await built.lasting.start(stack)
            generation = built.generation
            await generation.fleet.connect(stack, generation.registry)
            stack.push_async_callback(built.gateway.close)
            built.lasting.take_over(generation)
            stack.callback(built.lasting.retire, generation)
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
