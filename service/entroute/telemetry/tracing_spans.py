"""Finished traces as OpenTelemetry's spans: one of the request, one a call and a step.

Imports the SDK, which is an extra: only `entroute.telemetry.tracing` imports this, when asked to.
"""

from collections.abc import Callable
from typing import Any

from opentelemetry import trace as api
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from entroute.evidence import Trace
from entroute.telemetry import tracing_attributes as attributes
from entroute.telemetry.tracing_context import SpanContext
from entroute.telemetry.tracing_story import CANCELLED, Called, RequestStory, Span

SCHEMA = "https://opentelemetry.io/schemas/1.41.0"
_SCOPE = "entroute"
_INTERNAL = frozenset({"sandbox", "verify"})  # steps that may leave the process stay in our hands


class SpanWriter:
    """Writes the spans of finished traces.

    A span is made when all is known, with the times and ids that were noted on the way.

    Args:
        processor: Takes the spans.
        resource: What says which process they are of.
        version: Of entroute.
        content: Whether prompts and answers are written, too.
    """

    def __init__(
        self, processor: SpanProcessor, resource: Resource, version: str, *, content: bool
    ) -> None:
        self._content = content
        self._ids = _GivenIds()
        # Who is sampled is known by now; the process ends us in its own time.
        provider = TracerProvider(
            sampler=ALWAYS_ON, resource=resource, id_generator=self._ids, shutdown_on_exit=False
        )
        provider.add_span_processor(processor)
        self._tracer = provider.get_tracer(_SCOPE, version, schema_url=SCHEMA)

    def record(self, trace: Trace) -> None:
        """Write the spans of a finished trace, if it is sampled."""
        story = trace.story
        if not isinstance(story, RequestStory):
            return
        charges = {charge.call_id: charge for charge in trace.charges}
        calls = [called for called in story.calls if called.number in charges]
        end = _end_of(trace, [*calls, *story.steps])
        for called in calls:
            told = attributes.of_call(called, charges[called.number], content=self._content)
            name = f"{called.name} {called.model}".strip()
            span = self._child(story, called, name, told, api.SpanKind.CLIENT)
            for failure in called.failures:
                facts = {"error.type": failure.error, **attributes.address(failure.worker)}
                span.add_event("attempt.failed", facts, story.time_ns(failure.at))
            _end(span, story, called, end)
        for step in story.steps:
            name, told = attributes.of_step(step)
            internal = step.name in _INTERNAL
            kind = api.SpanKind.INTERNAL if internal else api.SpanKind.CLIENT
            _end(self._child(story, step, name, told, kind), story, step, end)
        self._request(trace, story, end, calls, lambda c: charges[c.number].tier)
        story.forget()

    def _request(
        self,
        trace: Trace,
        story: RequestStory,
        end: float,
        calls: list[Called],
        tier_of: Callable[[Called], str],
    ) -> None:
        """Write the request's own span; the last, so that whoever sees it sees the others."""
        told = attributes.of_request(trace)
        workflow = told.get("gen_ai.workflow.name")
        name = f"invoke_workflow {workflow}" if workflow else "invoke_workflow"
        links = [] if story.link is None else [api.Link(_vendor(story.link))]
        span = self._started(
            name,
            story.context,
            story.parent,
            kind=api.SpanKind.SERVER,
            attributes=told,
            links=links,
            start_time=story.time_ns(trace.started),
        )
        for passage, since, now in story.passages:
            facts = attributes.of_passage(trace, passage)
            if now > since:
                facts["entroute.duration_s"] = now - since
            span.add_event(passage, facts, story.time_ns(now))
        for at, facts in _escalations(trace, calls, tier_of, end):
            span.add_event("escalation", facts, story.time_ns(at))
        if trace.result == "server_error":
            span.set_status(api.StatusCode.ERROR)
        span.end(story.time_ns(end))

    def _child(
        self, story: RequestStory, what: Span, name: str, told: dict[str, Any], kind: api.SpanKind
    ) -> api.Span:
        started = story.time_ns(what.started)
        return self._started(
            name, what.context, story.context, kind=kind, attributes=told, start_time=started
        )

    def _started(
        self, name: str, own: SpanContext, parent: SpanContext | None, **facts: Any
    ) -> api.Span:
        self._ids.next = own
        around = Context()
        if parent is not None:
            around = api.set_span_in_context(api.NonRecordingSpan(_vendor(parent)), around)
        return self._tracer.start_span(name, around, **facts)


class _GivenIds(IdGenerator):
    """Gives the ids that workers were told already.

    Attributes:
        next: Of the span that is made next.
    """

    next = SpanContext(1, 1, sampled=True)

    def generate_span_id(self) -> int:
        """Return the next span's id."""
        return self.next.span_id

    def generate_trace_id(self) -> int:
        """Return its trace's."""
        return self.next.trace_id


def _vendor(context: SpanContext) -> api.SpanContext:
    return api.SpanContext(
        context.trace_id,
        context.span_id,
        is_remote=True,
        trace_flags=api.TraceFlags(api.TraceFlags.SAMPLED if context.sampled else 0),
        trace_state=api.TraceState.from_header([context.state]) if context.state else None,
    )


def _end_of(trace: Trace, parts: list[Called | Span]) -> float:
    """Return when the last part of a request ended: a leader that left may still be read."""
    ends = [trace.started if trace.finished is None else trace.finished]
    ends += [part.finished for part in parts if part.finished is not None]
    return max(ends)


def _end(span: api.Span, story: RequestStory, what: Span, at_most: float) -> None:
    if what.error not in {None, CANCELLED}:
        span.set_status(api.StatusCode.ERROR)
    span.end(story.time_ns(at_most if what.finished is None else what.finished))


def _escalations(
    trace: Trace, calls: list[Called], tier_of: Callable[[Called], str], end: float
) -> list[tuple[float, dict[str, Any]]]:
    """Return the moves between tiers, each when the first call began that it led to."""
    found, since, outcome = [], trace.started, trace.outcome
    of_another = trace.cache in {"exact", "semantic"}  # a kept answer's moves were made before
    for move in () if outcome is None or of_another else outcome.escalations:
        begun = [c.started for c in calls if tier_of(c) == move.target and c.started > since]
        since = min(begun, default=end)
        facts = {
            "entroute.from": move.source,
            "entroute.to": move.target,
            "entroute.reason": move.reason,
            "entroute.confidence": move.confidence,
        }
        found.append((since, attributes.known(facts)))
    return found
