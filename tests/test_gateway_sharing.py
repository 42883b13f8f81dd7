"""How walks end: in errors, with clients that leave, and for several clients at once."""

import asyncio
from contextlib import aclosing

import pytest

from entroute.errors import (
    BudgetExhausted,
    DeadlineExceeded,
    EntrouteError,
    InvalidRequest,
    TierUnavailable,
    WorkerFailed,
    WorkerRejected,
)
from entroute.evidence import Outcome
from entroute.gateway import result_of
from entroute.opening import Ask
from entroute.types import ChatRequest
from tests.builders import a_request, an_ask, read_outcome, settle, text_of
from tests.fakes import (
    no_task_left,
)
from tests.scripted import FakeBackend, fails, hangs, says
from tests.walks import COLD, WARM, Walk, either, walk

__all__ = ["no_task_left"]


@either
@pytest.mark.parametrize(
    ("error", "result"),
    [
        (WorkerFailed("w", "500"), "server_error"),
        (DeadlineExceeded("late"), "server_error"),
        (WorkerRejected("w", "bad", status=400, param=None, code=None), "client_error"),
    ],
)
async def test_an_error_is_recorded_once_with_what_it_cost(
    error: EntrouteError,
    result: str,
    stream: bool,  # noqa: FBT001
) -> None:
    w = walk(fails(error, after=2))
    with pytest.raises(type(error)):
        await w.ask(a_request(model="small"), stream=stream)
    trace = w.trace
    assert (trace.result, trace.error) == (result, type(error).__name__)
    assert [charge.purpose for charge in trace.charges] == ["discarded"]
    assert trace.outcome is None


async def test_a_policys_refusal_is_recorded_without_a_decision() -> None:
    w = walk(decision=InvalidRequest("no", param="n"))
    with pytest.raises(InvalidRequest):
        await w.ask()
    assert w.trace.decision is None
    assert w.trace.charges == ()


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (InvalidRequest("x"), "client_error"),
        (BudgetExhausted("max_calls"), "client_error"),
        (TierUnavailable("small"), "server_error"),
        (RuntimeError("a defect"), "server_error"),
    ],
)
def test_whose_fault_an_error_is(error: Exception, result: str) -> None:
    assert result_of(error) == result


@either
@pytest.mark.parametrize("request_", [COLD, WARM])
async def test_a_client_that_leaves_is_recorded_once_and_cancels_upstream(
    request_: ChatRequest,
    stream: bool,  # noqa: FBT001
) -> None:
    w = walk(hangs(after=1))
    task = asyncio.create_task(w.ask(request_, stream=stream))
    await settle()
    assert (w.small.running, w.gateway.in_flight) == (1, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (w.small.running, w.gateway.in_flight) == (0, 0)
    assert w.trace.result == "cancelled"
    assert w.trace.charges[0].usage.partial_calls == 1


async def test_a_stream_closed_between_pieces_is_cancelled() -> None:
    w = walk(hangs(after=2))
    async with aclosing(w.gateway.stream(an_ask(WARM, streamed=True))) as items:
        await anext(items)
    assert w.trace.result == "cancelled"
    assert w.small.cancelled == [0]


async def test_a_stream_closed_after_its_outcome_was_ok() -> None:
    w = walk()
    async with aclosing(w.gateway.stream(an_ask(COLD, streamed=True))) as items:
        async for item in items:
            if isinstance(item, Outcome):
                break
    assert w.trace.result == "ok"


async def joined(w: Walk, count: int, *, stream: bool = True) -> list[asyncio.Task[Outcome]]:
    tasks = [asyncio.create_task(w.ask(stream=stream)) for _ in range(count)]
    await settle()
    return tasks


@either
async def test_identical_requests_at_once_make_one_call_and_one_charge(stream: bool) -> None:  # noqa: FBT001
    gate = asyncio.Event()
    w = walk(says("6 times ", "7", gate=gate))
    tasks = await joined(w, 5, stream=stream)
    gate.set()
    outcomes = await asyncio.gather(*tasks)
    assert len(w.small.calls) == 1
    assert {outcome.choices[0].content for outcome in outcomes} == {"6 times 7"}
    traces = w.recorded.traces
    assert len(traces) == 5
    assert sorted(len(trace.charges) for trace in traces) == [0, 0, 0, 0, 1]
    assert sorted(trace.shared for trace in traces) == [False, True, True, True, True]
    assert {trace.result for trace in traces} == {"ok"}
    assert all(trace.cache == ("exact" if trace.shared else "miss") for trace in traces)


async def test_a_follower_gets_every_piece_from_the_first() -> None:
    w = walk(hangs(after=2))
    leader = w.gateway.stream(an_ask(COLD, streamed=True))
    first = [await anext(leader), await anext(leader)]
    follower = w.gateway.stream(an_ask(COLD, streamed=True))
    assert [await anext(follower), await anext(follower)] == first
    assert text_of(first) == "6 times 7 is "
    await leader.aclose()
    await follower.aclose()
    assert w.small.running == 0


@either
async def test_followers_get_the_answer_of_a_leader_that_left(stream: bool) -> None:  # noqa: FBT001
    gate = asyncio.Event()
    w = walk(says("6 times ", "7", gate=gate))
    leader, follower = await joined(w, 2, stream=stream)
    leader.cancel()
    await settle()
    assert w.recorded.traces == []  # it goes on being charged
    gate.set()
    assert (await follower).choices[0].content == "6 times 7"
    await settle()
    assert leader.cancelled()
    by_shared = {trace.shared: trace for trace in w.recorded.traces}
    assert len(w.recorded.traces) == 2
    assert by_shared[False].result == "cancelled"
    assert len(by_shared[False].charges) == 1
    assert by_shared[True].result == "ok"
    assert by_shared[True].charges == ()
    assert w.cache is not None
    assert len(w.cache.stored) == 1


async def test_a_leader_that_left_still_tells_what_was_spent_on_its_answer() -> None:
    gate = asyncio.Event()
    w = walk(says("6 times ", "7", gate=gate))
    leader, follower = await joined(w, 2)
    leader.cancel()
    await settle()
    gate.set()
    await follower
    await settle()
    (left,) = (trace for trace in w.recorded.traces if not trace.shared)
    assert left.outcome is not None
    assert left.outcome.strategy == "single"


async def test_a_follower_does_not_inherit_the_leaders_deadline() -> None:
    gate = asyncio.Event()
    w = walk(FakeBackend(fails(DeadlineExceeded("late"), gate=gate), says("7")))
    leader, follower = await joined(w, 2, stream=False)
    gate.set()
    with pytest.raises(DeadlineExceeded):
        await leader
    assert (await follower).choices[0].content == "7"
    assert len(w.small.calls) == 2
    assert all(not trace.shared for trace in w.recorded.traces)


async def test_a_reader_of_a_stream_does_not_join_a_plain_answer() -> None:
    gate = asyncio.Event()
    w = walk(FakeBackend(says("6 times ", "7", gate=gate), says("6 times ", "7")))
    (plain,) = await joined(w, 1, stream=False)
    pieces = [item async for item in w.gateway.stream(an_ask(COLD, streamed=True))]
    assert text_of(pieces) == "6 times 7"
    gate.set()
    await plain
    assert len(w.small.calls) == 2


async def test_the_last_to_leave_cancels_upstream() -> None:
    w = walk(hangs(after=1))
    tasks = await joined(w, 3)
    for left, task in enumerate(tasks, start=1):
        assert w.small.running == 1
        task.cancel()
        await settle()
        assert w.small.running == (0 if left == 3 else 1)
    assert all(task.cancelled() for task in tasks)
    assert [trace.result for trace in w.recorded.traces] == ["cancelled"] * 3
    assert sum(len(trace.charges) for trace in w.recorded.traces) == 1


async def test_an_error_of_the_leader_is_everyones() -> None:
    gate = asyncio.Event()
    error = WorkerRejected("w", "bad", status=400, param=None, code=None)
    w = walk(fails(error, gate=gate))
    tasks = await joined(w, 3)
    gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, WorkerRejected) for result in results)
    assert [trace.result for trace in w.recorded.traces] == ["client_error"] * 3
    assert len(w.small.calls) == 1


async def test_sampled_requests_are_not_shared() -> None:
    w = walk()
    await asyncio.gather(*(w.ask(WARM) for _ in range(3)))
    assert len(w.small.calls) == 3


async def test_closing_the_gateway_cancels_shared_answers() -> None:
    w = walk(hangs(after=1))
    tasks = await joined(w, 2)
    await w.gateway.close()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, EntrouteError) for result in results)
    assert w.small.running == 0
    assert len(w.recorded.traces) == 2


async def test_ask_is_left_as_it_was() -> None:
    ask: Ask = an_ask(COLD, streamed=True)
    before = (ask.request, ask.options, ask.principal)
    await read_outcome(walk().gateway.stream(ask))
    assert (ask.request, ask.options, ask.principal) == before
