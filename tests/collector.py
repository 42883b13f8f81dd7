"""A collector in memory: takes spans by OTLP over HTTP on a real socket and decodes them."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Wire


@dataclass(frozen=True, slots=True)
class Event:
    """Something at a moment within a span."""

    name: str
    at_ns: int
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Span:
    """A span as a backend would keep it; ids are lower-case hex, "" for no parent."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    state: str
    start_ns: int
    end_ns: int
    facts: Mapping[str, Any]
    events: tuple[Event, ...]
    links: tuple[str, ...]
    failed: bool
    resource: Mapping[str, Any]

    @property
    def operation(self) -> str:
        """What GenAI's conventions call it, "" where they have no word."""
        return str(self.facts.get("gen_ai.operation.name", ""))


@dataclass(slots=True)
class Collector:
    """What a collector was sent.

    Attributes:
        url: Where spans are posted.
        spans: In the order in which they came.
        bodies: As they came.
        headers: Of every post.
        status: What it answers.
        delay_s: Seconds until it answers.
    """

    url: str = ""
    spans: list[Span] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    status: int = 200
    delay_s: float = 0.0

    @property
    def requests(self) -> list[Span]:
        """Spans of requests."""
        return [span for span in self.spans if span.operation == "invoke_workflow"]

    def of(self, trace_id: str) -> list[Span]:
        """Return a trace's spans."""
        return [span for span in self.spans if span.trace_id == trace_id]

    def forget(self) -> None:
        """Forget all of it."""
        for what in (self.spans, self.bodies, self.headers):
            what.clear()

    def has(self, enough: Callable[["Collector"], bool], *, within_s: float = 20.0) -> bool:
        """Wait until it has been sent enough; return whether it was in time. Blocks."""
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            if enough(self):
                return True
            time.sleep(0.02)
        return False

    def take(self, body: bytes) -> None:
        """Decode a post."""
        request = ExportTraceServiceRequest.FromString(body)
        for group in request.resource_spans:
            resource = _facts(group.resource.attributes)
            for scope in group.scope_spans:
                self.spans.extend(_span(span, resource) for span in scope.spans)


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector on a free port of this machine."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.headers.append({k.lower(): v for k, v in self.headers.items()})
            collector.bodies.append(body)
            time.sleep(collector.delay_s)
            if collector.status == 200:
                collector.take(body)
            self.send_response(collector.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector.url = f"http://127.0.0.1:{server.server_address[1]}/v1/traces"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def by_operation(spans: list[Span]) -> dict[str, list[Span]]:
    """Return spans by what GenAI's conventions call them."""
    found: defaultdict[str, list[Span]] = defaultdict(list)
    for span in spans:
        found[span.operation].append(span)
    return found


def _span(span: Wire, resource: Mapping[str, Any]) -> Span:
    return Span(
        name=span.name,
        kind=Wire.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        state=span.trace_state,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        facts=_facts(span.attributes),
        events=tuple(Event(e.name, e.time_unix_nano, _facts(e.attributes)) for e in span.events),
        links=tuple(link.trace_id.hex() for link in span.links),
        failed=span.status.code == 2,
        resource=resource,
    )


def _facts(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    def value(held: AnyValue) -> Any:
        kind = held.WhichOneof("value")
        if kind == "array_value":
            return [value(one) for one in held.array_value.values]
        return getattr(held, str(kind))

    return {pair.key: value(pair.value) for pair in pairs}
