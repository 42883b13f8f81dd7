"""Tracing: spans of every request and call, off unless it is configured, and then an extra.

In this order: `tracing_sampling` opens a story when a request arrives, `tracing_story` notes what
happens, and once the request has ended `tracing_spans` makes spans of that and of the `Trace`,
which `tracing_outbox` sends. Only the last two import OpenTelemetry, and only if it is asked for.
"""

import asyncio
import importlib.util
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import SystemRandom
from typing import TYPE_CHECKING
from uuid import uuid4

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from entroute.errors import ConfigurationError
from entroute.evidence import Trace
from entroute.protocols import Clock
from entroute.telemetry.tracing_sampling import Stories
from entroute.telemetry.tracing_settings import FLUSH_S, TracingSettings

if TYPE_CHECKING:
    from entroute.telemetry.tracing_outbox import Outbox
    from entroute.telemetry.tracing_spans import SpanWriter

RESULTS = ("exported", "failed", "dropped")
"""What becomes of a span."""

_MODULES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


def require_extra(settings: TracingSettings | None) -> None:
    """Do nothing where tracing is off, or its extra is installed.

    Raises:
        ConfigurationError: It is not.
    """
    missing = [name for name in _MODULES if settings is not None and not _there(name)]
    if missing:
        raise ConfigurationError(
            f"tracing: needs {', '.join(missing)}: pip install 'entroute[tracing]', "
            "or leave the section out"
        )


def _there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # what it would be in
        return False


@dataclass(frozen=True, slots=True, eq=False)
class Tracing:
    """What traces the requests of one process. A recorder of finished traces, too.

    Attributes:
        stories: Opens their stories.
        writer: Makes spans of them.
        outbox: Sends those.
        flush_s: Seconds that its end may take.
    """

    stories: Stories
    writer: "SpanWriter"
    outbox: "Outbox"
    flush_s: float

    def record(self, trace: Trace) -> None:
        """Make the spans of a finished trace."""
        self.writer.record(trace)

    async def close(self) -> None:
        """Send what is left, in bounded time; the loop goes on meanwhile."""
        await asyncio.to_thread(self.outbox.close, self.flush_s)

    def follow(self, settings: TracingSettings | None) -> None:
        """Go on under another configuration: of all of it, only the share may differ."""
        if settings is not None:
            self.stories.sample = settings.sample


def built_tracing(
    settings: TracingSettings | None, counts: dict[str, int], clock: Clock, version: str
) -> Tracing | None:
    """Return what traces, its thread not started; None where nothing is to be traced.

    Args:
        settings: How.
        counts: Takes what becomes of spans, by `RESULTS`.
        clock: Monotonic seconds.
        version: Of entroute.

    Raises:
        ConfigurationError: The extra is not installed.
    """
    require_extra(settings)
    if settings is None:
        return None
    from entroute.telemetry.tracing_export import exporter_of, resource_of  # noqa: PLC0415
    from entroute.telemetry.tracing_outbox import Outbox  # noqa: PLC0415 - an extra
    from entroute.telemetry.tracing_spans import SpanWriter  # noqa: PLC0415

    outbox = Outbox(exporter_of(settings), settings.queue_spans, counts)
    resource = resource_of(settings.service_name, version, uuid4().hex, os.getpid())
    return Tracing(
        Stories(settings.sample, settings.inbound, clock, time.time_ns, SystemRandom()),
        SpanWriter(outbox, resource, version, content=settings.content),
        outbox,
        min(settings.timeout_s, FLUSH_S),
    )


class SpanMetrics(Collector):
    """Exports what became of spans.

    Args:
        counts: Spans so far, by `RESULTS`.
    """

    def __init__(self, counts: Mapping[str, int]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Read the counts."""
        family = CounterMetricFamily(
            "entroute_spans",
            "Spans by what became of them: exported, failed at the collector, or dropped.",
            labels=("result",),
        )
        for result in RESULTS:
            family.add_metric((result,), self._counts.get(result, 0))
        yield family
