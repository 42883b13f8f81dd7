"""Which requests are traced, and as part of whose trace."""

from random import Random

import pytest
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

from entroute.spans import Story
from entroute.telemetry.tracing_context import SpanContext, context_of
from entroute.telemetry.tracing_sampling import Stories
from entroute.telemetry.tracing_settings import Inbound
from entroute.telemetry.tracing_story import QuietStory, RequestStory
from tests.scripted import FakeClock

PARENT = SpanContext(0xA1, 0xB2, sampled=True, state="vendor=1")
UNSAMPLED = SpanContext(0xA1, 0xB2, sampled=False, state="vendor=1")


def stories(sample: float = 1.0, inbound: Inbound = "continue") -> Stories:
    return Stories(sample, inbound, FakeClock(), lambda: 10**18, Random(7))  # noqa: S311


def sent(context: SpanContext) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in context.headers.items()]


def told(story: Story) -> SpanContext:
    """Return what a worker is told of a call."""
    found = context_of(sent_by(story))
    assert found is not None
    return found


def sent_by(story: Story) -> list[tuple[bytes, bytes]]:
    headers = story.call(0, "chat", "m").headers
    return [(name.encode(), value.encode()) for name, value in headers.items()]


def test_a_sampled_clients_trace_goes_on_whatever_the_share() -> None:
    story = stories(0.0).open(sent(PARENT))
    assert isinstance(story, RequestStory)
    assert story.parent == PARENT
    worker = told(story)
    assert (worker.trace_id, worker.sampled, worker.state) == (0xA1, True, "vendor=1")
    assert worker.span_id not in {0xB2, story.context.span_id}


def test_a_client_that_samples_nothing_is_heeded_and_workers_are_told() -> None:
    story = stories(1.0).open(sent(UNSAMPLED))
    assert isinstance(story, QuietStory)
    worker = told(story)
    assert (worker.trace_id, worker.sampled, worker.state) == (0xA1, False, "vendor=1")


@pytest.mark.parametrize("parent", [PARENT, UNSAMPLED])
def test_a_link_begins_a_trace_of_our_own(parent: SpanContext) -> None:
    story = stories(1.0, "link").open(sent(parent))
    assert isinstance(story, RequestStory)
    assert (story.parent, story.link) == (None, parent)
    assert story.context.trace_id != 0xA1
    assert told(story).state == ""


def test_an_ignored_client_is_not_even_linked_to() -> None:
    story = stories(1.0, "ignore").open(sent(PARENT))
    assert isinstance(story, RequestStory)
    assert (story.parent, story.link) == (None, None)
    assert story.context.trace_id != 0xA1


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_new_traces_are_drawn_by_their_id_as_other_services_draw_them(share: float) -> None:
    opening, theirs = stories(share), TraceIdRatioBased(share)
    taken = 0
    for _ in range(2000):
        story = opening.open([])
        trace_id = int(story.ids["trace_id"], 16)
        sampled = isinstance(story, RequestStory)
        decision = theirs.should_sample(None, trace_id, "x").decision
        assert sampled == (decision is Decision.RECORD_AND_SAMPLE)
        taken += sampled
    assert abs(taken / 2000 - share) < 0.05


def test_the_share_may_change_while_it_runs() -> None:
    opening = stories(1.0)
    assert isinstance(opening.open([]), RequestStory)
    opening.sample = 0.0
    assert isinstance(opening.open([]), QuietStory)
