import asyncio
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.backends.metered import Metered, Stopwatch
from entroute.backends.pool import NobodyAsked
from entroute.calls import spent_with
from entroute.errors import DeadlineExceeded, TierUnavailable, WorkerFailed, WorkerRejected
from entroute.evidence import Trace
from entroute.ledger import Ledger
from entroute.spending import Charge, Usage
from entroute.types import Call, Delta
from tests.builders import a_budget, a_completion, a_request, a_trace, read, settle
from tests.scripted import FakeBackend, FakeClock, Script, coin, fails, hangs, says

REJECTED = WorkerRejected("w", "bad", status=400, param=None, code=None)
FAILED = WorkerFailed("w", "answered 500")


class Desk:
    """A metered fake with its ledger, one call reserved."""

    def __init__(self, script: Script, **facts: Any) -> None:
        self.clock = FakeClock()
        self.trace: Trace = a_trace()
        self.fake = FakeBackend(script, clock=self.clock, **facts)
        self.ledger = Ledger(a_budget(), {}, self.clock)
        self.backend = Metered(self.fake, self.ledger, Stopwatch(self.trace, self.clock))
        self.call: Call = self.ledger.reserve("small", a_request(), "answer", top_logprobs=5)

    @property
    def charge(self) -> Charge:
        (only,) = self.ledger.charges
        return only

    def settled(self) -> bool:
        try:
            self.ledger.commit(self.call, Usage())
        except RuntimeError:
            return True
        return False


@pytest.mark.parametrize("stream", [True, False])
async def test_a_finished_call_is_charged_what_the_worker_counted(stream: bool) -> None:  # noqa: FBT001
    desk = Desk(says("a", "b", "c"))
    if stream:
        await read(desk.backend.stream(desk.call))
    else:
        await desk.backend.complete(desk.call)
    assert desk.charge.usage == Usage(10, 0, 3, 1)
    assert desk.charge.purpose == "answer"
    assert desk.settled()


@pytest.mark.parametrize("error", [FAILED, REJECTED, DeadlineExceeded("late")])
async def test_a_failed_stream_is_charged_what_it_sent_and_discarded(error: Exception) -> None:
    desk = Desk(fails(error, after=2))
    with pytest.raises(type(error)):
        await read(desk.backend.stream(desk.call))
    assert desk.charge.usage == Usage(10, 0, 2, 1, partial_calls=1)
    assert desk.charge.purpose == "discarded"
    assert desk.settled()


async def test_a_failed_whole_answer_is_one_partial_call() -> None:
    desk = Desk(fails(FAILED))
    with pytest.raises(WorkerFailed):
        await desk.backend.complete(desk.call)
    assert desk.charge.usage == Usage(calls=1, partial_calls=1)
    assert desk.settled()


@pytest.mark.parametrize("continuous", [True, False])
async def test_a_closed_stream_is_charged_what_it_had_sent(continuous: bool) -> None:  # noqa: FBT001
    desk = Desk(says("a", "b", "c", "d"), continuous=continuous)
    async with aclosing(desk.backend.stream(desk.call)) as pieces:
        await anext(pieces)
        await anext(pieces)
    prompt = 10 if continuous else 0
    assert desk.charge.usage == Usage(prompt, 0, 2, 1, partial_calls=1)
    assert desk.fake.cancelled == [desk.call.id]
    assert desk.settled()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_cancelled_call_is_committed_once(stream: bool) -> None:  # noqa: FBT001
    desk = Desk(hangs(after=1))

    async def ask() -> None:
        if stream:
            await read(desk.backend.stream(desk.call))
        else:
            await desk.backend.complete(desk.call)

    task = asyncio.create_task(ask())
    await settle()
    assert desk.fake.running == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    sent = Usage(10, 0, 1, 1, 1) if stream else Usage(calls=1, partial_calls=1)
    assert desk.charge.usage == sent
    assert desk.settled()


async def test_a_stream_that_was_never_read_is_not_charged() -> None:
    desk = Desk(says("a"))
    await desk.backend.stream(desk.call).aclose()
    assert desk.ledger.charges == ()
    assert desk.fake.calls == []


async def test_upstream_time_is_what_was_awaited_and_not_what_the_reader_took() -> None:
    desk = Desk(says("a", "b", "c"))
    async with aclosing(desk.backend.stream(desk.call)) as pieces:
        async for _ in pieces:
            desk.clock.advance(100)
    assert desk.trace.upstream_s == 3


async def test_calls_awaited_side_by_side_count_once() -> None:
    clock, trace = FakeClock(), a_trace()
    watch = Stopwatch(trace, clock)
    with watch:
        clock.advance(1)
        with watch:
            clock.advance(2)
        clock.advance(4)
    clock.advance(8)
    with watch:
        clock.advance(16)
    assert trace.upstream_s == 1 + 2 + 4 + 16


def test_without_continuous_usage_tokens_are_counted_by_log_probabilities_then_pieces() -> None:
    before = Usage(calls=1, partial_calls=1)
    two = Delta("ab", logprobs=(coin(0.9), coin(0.9)))
    assert spent_with(before, two).completion_tokens == 2
    assert spent_with(before, Delta("ab")).completion_tokens == 1


@given(st.lists(st.integers(0, 50), max_size=6))
def test_told_usage_replaces_what_was_counted(told: list[int]) -> None:
    spent = Usage(calls=1, partial_calls=1)
    for completion_tokens in told:
        spent = spent_with(spent, Delta("x", usage=Usage(7, 3, completion_tokens, 1)))
        assert spent == Usage(7, 3, completion_tokens, 1, 1)
    assert spent_with(spent, a_completion()) == a_completion().usage


async def test_whoever_sees_the_completion_sees_its_charge() -> None:
    desk = Desk(says("a", "b"))
    seen = []
    async with aclosing(desk.backend.stream(desk.call)) as pieces:
        async for _ in pieces:
            seen.append(len(desk.ledger.charges))  # noqa: PERF401 - counted at every step
    assert seen == [0, 0, 1]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_call_that_no_worker_was_asked_is_given_back(stream: bool) -> None:  # noqa: FBT001
    desk = Desk(fails(NobodyAsked("small")))
    asked = read(desk.backend.stream(desk.call)) if stream else desk.backend.complete(desk.call)
    with pytest.raises(TierUnavailable):
        await asked
    assert desk.ledger.charges == ()
    assert desk.ledger.calls_left == 16
