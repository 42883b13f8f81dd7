"""Finished traces as spans, where no gateway is needed to see it."""

import gc
import weakref
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from entroute.errors import WorkerFailed
from entroute.evidence import Result, Trace
from entroute.spending import Charge, Usage
from entroute.telemetry.tracing_content import MOST_CHARACTERS
from entroute.telemetry.tracing_context import SpanContext
from entroute.telemetry.tracing_spans import SpanWriter
from entroute.telemetry.tracing_story import QuietStory, RequestStory
from entroute.types import Call, ChatRequest
from tests.builders import a_completion
from tests.scripted import FakeClock


class Told:
    """A writer whose spans stay here."""

    def __init__(self, *, content: bool = False) -> None:
        self.clock = FakeClock()
        self.clock.now = 0.0
        self._kept = InMemorySpanExporter()
        processor = SimpleSpanProcessor(self._kept)
        self._writer = SpanWriter(processor, Resource({}), "1", content=content)

    def story(self) -> RequestStory:
        ids = iter(range(1, 100))
        own = SpanContext(0xA, 0xFF, sampled=True)
        return RequestStory(
            own,
            parent=None,
            link=None,
            clock=self.clock,
            epoch_ns=10**18,
            new_id=lambda: next(ids),
        )

    def spans(self, trace: Trace) -> list[ReadableSpan]:
        self._writer.record(trace)
        return list(self._kept.get_finished_spans())


def a_trace(story: RequestStory | QuietStory, **facts: Any) -> Trace:
    trace = Trace("r", "chat", 0.0, result="ok", finished=5.0, story=story)
    return replace(trace, **facts)


def charged(number: int, calls: int = 1) -> Charge:
    return Charge(number, "small", "answer", Usage(3, 1, 2, calls), 0.5)


def test_a_request_that_is_not_sampled_is_not_told() -> None:
    quiet = QuietStory(SpanContext(1, 2, sampled=False))
    assert Told().spans(a_trace(quiet)) == []
    assert Told().spans(Trace("r", "chat", 0.0)) == []


def test_a_call_that_nobody_was_asked_is_none() -> None:
    told = Told()
    story = told.story()
    story.call(0, "chat", "m").ended(TimeoutError())  # it had waited in a queue
    asked = story.call(1, "chat", "m")
    asked.asked("https://worker.example/v1", "vllm")
    asked.ended()
    call, parent = told.spans(a_trace(story, charges=(charged(1),)))
    assert call.attributes is not None
    assert call.attributes["entroute.call"] == 1
    assert (call.attributes["server.address"], call.attributes["server.port"]) == (
        "worker.example",
        443,
    )
    assert call.attributes["gen_ai.usage.cache_read.input_tokens"] == 1
    assert parent.name == "invoke_workflow"


def test_a_request_lasts_until_the_last_of_its_calls_has_ended() -> None:
    told = Told()
    story = told.story()
    call = story.call(0, "chat", "m")
    told.clock.now += 9  # its client has left after 5 seconds, others read on
    call.ended()
    _, parent = told.spans(a_trace(story, charges=(charged(0),)))
    assert parent.end_time == 10**18 + 9 * 10**9


def test_a_call_that_never_ended_ends_with_its_request() -> None:
    told = Told()
    story = told.story()
    story.call(0, "chat", "m")
    call, parent = told.spans(a_trace(story, charges=(charged(0),)))
    assert call.end_time == parent.end_time == 10**18 + 5 * 10**9


@pytest.mark.parametrize(
    ("result", "error", "status", "kind"),
    [
        ("ok", None, StatusCode.UNSET, None),
        ("client_error", "NotFound", StatusCode.UNSET, "NotFound"),
        ("server_error", "WorkerFailed", StatusCode.ERROR, "WorkerFailed"),
        ("server_error", "ShuttingDown", StatusCode.ERROR, "ShuttingDown"),
        ("cancelled", None, StatusCode.UNSET, "cancelled"),
    ],
)
def test_only_our_own_failures_are_errors_of_a_request(
    result: Result, error: str | None, status: StatusCode, kind: str | None
) -> None:
    told = Told()
    (parent,) = told.spans(a_trace(told.story(), result=result, error=error))
    assert parent.attributes is not None
    assert parent.status.status_code is status
    assert parent.status.description is None
    assert parent.attributes.get("error.type") == kind


def test_an_errors_words_are_never_told() -> None:
    told = Told()
    story = told.story()
    call = story.call(0, "chat", "m")
    call.asked("http://w:1/v1", "")
    error = WorkerFailed("http://w:1/v1", "marked words of a worker")
    call.failed(error)
    call.ended(error)
    spans = told.spans(a_trace(story, charges=(charged(0),)))
    assert not any("marked" in span.to_json() for span in spans)
    (event,) = spans[0].events
    assert event.attributes is not None
    assert event.attributes["error.type"] == "WorkerFailed"
    assert spans[0].attributes is not None
    assert spans[0].attributes["entroute.attempts"] == 1
    assert spans[0].attributes["gen_ai.provider.name"] == "openai"


def test_what_a_worker_calls_its_model_is_told_only_where_it_is_a_name() -> None:
    for name, told_as in (("Qwen/Qwen3-8B", "Qwen/Qwen3-8B"), ("marked words of a prompt", None)):
        told = Told()
        story = told.story()
        call = story.call(0, "chat", "m")
        call.note(answer=replace(a_completion("x"), model=name, finish_reason=name))
        call.ended()
        span, _ = told.spans(a_trace(story, charges=(charged(0),)))
        assert span.attributes is not None
        assert span.attributes.get("gen_ai.response.model") == told_as
        assert span.attributes["gen_ai.response.finish_reasons"] == ("other",)


def test_what_was_said_dies_with_its_trace_and_waits_for_no_collection_of_cycles() -> None:
    told = Told()
    story = told.story()
    answer = a_completion("It is so.")
    gone = weakref.ref(story)
    called = story.call(0, "chat", "m")
    called.note(answer=answer)
    gc.disable()
    try:
        told.spans(a_trace(story, charges=(charged(0),)))
        del story, called
        assert gone() is None
    finally:
        gc.enable()


def test_long_prompts_are_cut_off() -> None:
    told = Told(content=True)
    story = told.story()
    request = ChatRequest("m", ({"role": "user", "content": "x" * 100_000},))
    story.call(0, "chat", "m").note(call=Call(0, request, "answer", 1.0))
    (call, _) = told.spans(a_trace(story, charges=(charged(0),)))
    assert call.attributes is not None
    assert len(str(call.attributes["gen_ai.input.messages"])) == MOST_CHARACTERS


def test_a_client_that_is_not_trusted_is_linked_to() -> None:
    told = Told()
    own, theirs = SpanContext(0xA, 0xFF, sampled=True), SpanContext(0xB, 0xC, sampled=False)
    story = RequestStory(
        own, parent=None, link=theirs, clock=told.clock, epoch_ns=0, new_id=lambda: 1
    )
    (parent,) = told.spans(a_trace(story))
    assert parent.parent is None
    (link,) = parent.links
    assert (link.context.trace_id, link.context.span_id) == (0xB, 0xC)
