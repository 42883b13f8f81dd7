"""What goes on when the configuration is loaded again, and the generations that answer with it.

A generation is everything that is built anew from a configuration: tiers, policy, strategies,
limits. What holds state lasts: connections to Redis, keys and their limits, usage, kept answers,
labels, the sandbox, counters.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from entroute import __version__
from entroute.api.draining import Drain
from entroute.api.responses.keeping import ResponseKeeper
from entroute.cache.executions import KeptExecutions
from entroute.cache.parts import CacheParts
from entroute.fleet import Fleet
from entroute.gateway import Recorder
from entroute.profile.profile import Profile
from entroute.protocols import Clock
from entroute.sessions import Sessions
from entroute.settings import Settings
from entroute.telemetry.caching import CacheMetrics, ExecutionMetrics
from entroute.telemetry.feedback import FeedbackMetrics
from entroute.telemetry.groups import GroupMetrics
from entroute.telemetry.keys import KeyMetrics
from entroute.telemetry.logs import RequestLog
from entroute.telemetry.metrics import Metrics
from entroute.telemetry.redis import RedisMetrics
from entroute.telemetry.reloads import ReloadMetrics
from entroute.telemetry.responses import ResponseMetrics
from entroute.telemetry.tracing import RESULTS, SpanMetrics, Tracing, built_tracing
from entroute.tools import Tools, built_tools, rewards_of


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """What was built from one configuration.

    Attributes:
        settings: The configuration.
        profile: What it decides by.
        fleet: Its workers.
        in_flight: Returns how many requests it is answering.
        registry: Metrics of its own.
    """

    settings: Settings
    profile: Profile | None
    fleet: Fleet
    in_flight: Callable[[], int]
    registry: CollectorRegistry


@dataclass(slots=True, eq=False)
class Lasting:
    """What lasts, and who uses it.

    Attributes:
        tools: What the walk and the edge use beside the walk's own parts.
        metrics: Every metric of requests.
        recorders: What every finished trace is told to.
        cache: What keeps answers, None for no cache; finds by meaning under no keys yet.
        responses: Keeps responses.
        drain: Whether the server is leaving.
        sessions: Connections to workers.
        reloads: Counts reloads.
        tracing: Traces requests, None where they are not.
        running: The generations that answer, the current one last.
        started: Whether it has been started.
    """

    tools: Tools
    metrics: Metrics
    recorders: tuple[Recorder, ...]
    cache: CacheParts | None
    responses: ResponseKeeper
    reloads: ReloadMetrics
    tracing: Tracing | None = None
    drain: Drain = field(default_factory=Drain)
    sessions: Sessions = field(default_factory=Sessions)
    running: list[Generation] = field(default_factory=list)
    started: bool = False

    async def start(self, stack: AsyncExitStack) -> None:
        """Start all of it, to be closed by `stack`; nothing happens if it has been started."""
        if self.started:
            return
        self.started = True
        if self.tracing is not None:
            stack.push_async_callback(self.tracing.close)  # the last to be closed
            self.tracing.outbox.start()
        await self.tools.start(stack)
        if self.cache is not None:
            stack.push_async_callback(self.cache.answers.close)
            if (semantic := self.cache.semantic) is not None:
                stack.push_async_callback(semantic.close)
                await semantic.start()

    def of(self, settings: Settings) -> Tools:
        """Return the tools as a generation uses them."""
        return replace(self.tools, rewards=rewards_of(settings, self.tools.client))

    def take_over(self, generation: Generation) -> None:
        """Let a generation be the current one: it goes on with what is known of its workers.

        Raises:
            ConfigurationError: As `Tools.follow`.
        """
        if self.running:
            self.tools.follow(generation.settings, generation.profile)
            if self.tracing is not None:
                self.tracing.follow(generation.settings.tracing)
            generation.fleet.adopt(self.running[-1].fleet)
        self.running.append(generation)

    def retire(self, generation: Generation) -> None:
        """Forget a generation that answers nothing any more, unless it is the last one.

        What that has counted is still told when the server has stopped.
        """
        if len(self.running) > 1:
            self.running.remove(generation)


def built_lasting(
    settings: Settings,
    profile: Profile | None,
    cache: Callable[[Tools], CacheParts | None],
    clock: Clock,
) -> Lasting:
    """Return it, not started.

    Args:
        settings: The configuration.
        profile: What it decides by.
        cache: Builds what keeps answers.
        clock: Monotonic seconds.
    """
    tools = built_tools(settings, profile, clock)
    metrics = Metrics(CollectorRegistry())
    how = settings.responses
    keeper = ResponseKeeper(tools.shared.store, how.ttl_s, how.max_bytes, how.store)
    spans = dict.fromkeys(RESULTS, 0)
    tracing = built_tracing(settings.tracing, spans, clock, __version__)
    metrics.registry.register(SpanMetrics(spans))
    recorders = (*_recorders(metrics, tools), *(() if tracing is None else (tracing,)))
    reloads = ReloadMetrics(metrics.registry)
    lasting = Lasting(tools, metrics, recorders, cache(tools), keeper, reloads, tracing)
    _export(lasting)
    return lasting


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


def _export(lasting: Lasting) -> None:
    """Export what is not counted from traces."""
    metrics, tools, registry = lasting.metrics, lasting.tools, lasting.metrics.registry
    metrics.export_in_flight(lambda: sum(g.in_flight() for g in tuple(lasting.running)))
    metrics.export_draining(lambda: lasting.drain.begun)
    metrics.export_build(__version__)
    registry.register(_Current(lasting.running))
    registry.register(FeedbackMetrics(tools.feedback))
    registry.register(RedisMetrics(tools.shared.links))
    registry.register(KeyMetrics(tools.shared.keys))
    registry.register(ResponseMetrics(lasting.responses.counts))
    if isinstance(tools.programs, KeptExecutions):
        registry.register(ExecutionMetrics(tools.programs.counts))
    if lasting.cache is not None:
        registry.register(CacheMetrics(lasting.cache.discarded))


class _Current(Collector):
    """Exports what the current generation exports of its own: its workers."""

    def __init__(self, running: list[Generation]) -> None:
        self._running = running

    def collect(self) -> Iterator[Metric]:
        """Read the current generation."""
        latest: Iterable[Generation] = self._running[-1:]
        for generation in latest:
            yield from generation.registry.collect()
