"""What is noted of a request while it happens."""

import asyncio

import pytest

from entroute.errors import WorkerUnavailable
from entroute.evidence import Trace
from entroute.telemetry.tracing_context import SpanContext
from entroute.telemetry.tracing_story import CANCELLED, Called, QuietStep, RequestStory
from tests.scripted import FakeClock


def a_story(clock: FakeClock) -> RequestStory:
    ids = iter(range(1, 100))
    own = SpanContext(0xA, 0xFF, sampled=True)
    return RequestStory(
        own, parent=None, link=None, clock=clock, epoch_ns=10**18, new_id=lambda: next(ids)
    )


def raced(story: RequestStory, clock: FakeClock, *, won: bool) -> tuple[Called, Called]:
    """Return two calls that raced, the first and its twin, ended."""
    first = story.call(0, "chat", "m")
    first.asked("http://slow:1/v1", "vllm")
    clock.now += 2
    twin = first.twin(1)
    twin.asked("http://fast:1/v1", "vllm")
    clock.now += 1
    first.raced(won=won)
    clock.now += 1
    first.ended()
    assert isinstance(twin, Called)
    return first, twin


def test_a_twin_that_wins_takes_the_place_of_its_call() -> None:
    clock = FakeClock()
    story = a_story(clock)
    first, twin = raced(story, clock, won=True)
    # Charge 0 is the winner's, charge 1 the loser's: each must be told of who made it.
    assert (first.worker, first.context.span_id) == ("http://fast:1/v1", 2)
    assert (twin.worker, twin.context.span_id) == ("http://slow:1/v1", 1)
    assert first.started > twin.started
    assert (first.error, twin.error) == (None, CANCELLED)
    assert first.finished is not None
    assert twin.finished is not None
    assert first.finished > twin.finished


def test_a_twin_that_loses_ends_as_cancelled() -> None:
    clock = FakeClock()
    story = a_story(clock)
    first, twin = raced(story, clock, won=False)
    assert (first.worker, twin.worker) == ("http://slow:1/v1", "http://fast:1/v1")
    assert (first.error, twin.error) == (None, CANCELLED)


def test_what_failed_before_its_twin_won_says_how() -> None:
    clock = FakeClock()
    story = a_story(clock)
    first = story.call(0, "chat", "m")
    first.asked("http://dead:1/v1", "")
    first.failed(WorkerUnavailable("http://dead:1/v1", "refused", refused=True))
    twin = first.twin(1)
    assert isinstance(twin, Called)
    twin.asked("http://fast:1/v1", "")
    first.raced(won=True)
    assert (twin.worker, twin.error) == ("http://dead:1/v1", "WorkerUnavailable")
    assert first.failures == []


def test_what_fails_after_its_twin_won_is_told_of_the_twins_worker() -> None:
    first, twin = raced(a_story(FakeClock()), FakeClock(), won=True)
    twin.failed(WorkerUnavailable("http://fast:1/v1", "broke off", refused=False))
    assert [failure.worker for failure in first.failures] == ["http://fast:1/v1"]
    assert twin.failures == []


@pytest.mark.parametrize("error", [asyncio.CancelledError(), GeneratorExit()])
def test_giving_up_is_no_failure(error: BaseException) -> None:
    called = a_story(FakeClock()).call(0, "chat", "m")
    called.ended(error)
    assert called.error == CANCELLED


def test_only_steps_that_took_time_failed_or_asked_others_are_kept() -> None:
    clock = FakeClock()
    story = a_story(clock)
    with story.step("verify", verifier="quick", candidates=1):
        pass
    with story.step("verify", verifier="slow", candidates=1):
        clock.now += 0.5
    with story.step("reward", endpoint="asks") as step:
        assert step.headers["traceparent"].endswith("-01")
    with pytest.raises(ValueError, match="secret words"), story.step("reward", endpoint="fails"):
        raise ValueError("secret words")
    assert [step.facts.get("verifier") or step.facts["endpoint"] for step in story.steps] == [
        "slow",
        "asks",
        "fails",
    ]
    assert [step.error for step in story.steps] == [None, None, "ValueError"]


def test_times_become_those_of_the_calendar() -> None:
    story = a_story(FakeClock())
    assert story.time_ns(1.5) == 10**18 + 1_500_000_000


def test_a_request_that_is_not_traced_takes_its_steps_all_the_same() -> None:
    trace = Trace("r", "chat", 0.0)
    with trace.step("verify", verifier="x", candidates=1) as step:
        step.note(status="ok")
        assert not step.headers
    trace.passed("cache", 0.0, 1.0)
    assert trace.story is None


def test_one_that_is_not_recorded_tells_all_it_asks_the_same() -> None:
    quiet = QuietStep({"traceparent": "x"})
    quiet.asked("u", "vllm")
    quiet.failed(ValueError())
    quiet.note(call="c")
    assert quiet.twin(1) is quiet
    quiet.raced(won=True)
    quiet.ended()
    with quiet as step:
        assert step.headers == {"traceparent": "x"}
