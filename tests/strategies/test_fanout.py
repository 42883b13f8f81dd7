import asyncio

import pytest

from entroute.errors import WorkerFailed
from entroute.strategies.fanout import Arrival, Fanout
from entroute.types import Completion
from tests.builders import a_call, settle, text_of
from tests.scripted import FakeBackend, Script, fails, hangs, says


def started(fanout: Fanout, *scripts: Script) -> FakeBackend:
    backend = FakeBackend(*scripts)
    for key in range(len(scripts)):
        fanout.start(key, backend.stream(a_call()))
    return backend


async def drained(fanout: Fanout) -> dict[int, list[Arrival]]:
    found: dict[int, list[Arrival]] = {}
    while fanout.live:
        key, arrival = await fanout.next()
        found.setdefault(key, []).append(arrival)
    return found


async def test_every_stream_arrives_whole_under_its_key() -> None:
    async with Fanout() as fanout:
        started(fanout, says("a", "b"), says("c"), says("d", "e", "f"))
        found = await drained(fanout)
    assert {key: text_of(items) for key, items in found.items()} == {0: "ab", 1: "c", 2: "def"}
    assert all(isinstance(items[-1], Completion) for items in found.values())


async def test_a_failure_arrives_in_its_place_and_spares_the_others() -> None:
    error = WorkerFailed("w", "answered 500")
    async with Fanout() as fanout:
        started(fanout, fails(error, after=1), says("c"))
        found = await drained(fanout)
    assert found[0][-1] is error
    assert isinstance(found[1][-1], Completion)


async def test_what_is_live_is_cancelled_and_counted() -> None:
    async with Fanout() as fanout:
        backend = started(fanout, says("a"), hangs(), hangs(after=1))
        while fanout.live > 2:
            await fanout.next()
        assert await fanout.cancel() == 2
        assert fanout.live == 0
        assert backend.running == 0
        assert await fanout.cancel() == 0


async def test_leaving_cancels_what_still_runs() -> None:
    async with Fanout() as fanout:
        backend = started(fanout, hangs(), hangs())
        await settle()
        assert backend.running == 2
    assert backend.running == 0


async def test_an_error_in_the_body_cancels_what_still_runs() -> None:
    backends = []

    async def body() -> None:
        async with Fanout() as fanout:
            backends.append(started(fanout, hangs(after=1)))
            await fanout.next()
            raise KeyError

    with pytest.raises(KeyError):
        await body()
    assert backends[0].running == 0


async def test_streams_that_never_got_their_turn_are_not_begun() -> None:
    async with Fanout() as fanout:
        backend = started(fanout, hangs(), hangs())
    assert backend.calls == []


async def test_cancelling_the_reader_cancels_what_it_reads() -> None:
    backend = FakeBackend(hangs())

    async def body() -> None:
        async with Fanout() as fanout:
            fanout.start(0, backend.stream(a_call()))
            await fanout.next()

    task = asyncio.create_task(body())
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert backend.running == 0


async def test_a_defect_in_a_stream_is_raised_and_not_waited_for() -> None:
    async with asyncio.timeout(30), Fanout() as fanout:
        started(fanout, fails(ZeroDivisionError("a defect")), hangs())
        with pytest.raises(ZeroDivisionError):
            await fanout.next()


async def test_what_ended_but_was_not_read_is_not_cut_off() -> None:
    async with Fanout() as fanout:
        started(fanout, says("a"), says("b"), fails(WorkerFailed("w", "answered 500")), hangs())
        await settle()
        while not isinstance((await fanout.next())[1], Completion):
            pass
        assert await fanout.cancel() == 1
        assert fanout.unread == {1, 2}


async def test_only_what_is_there_is_ready() -> None:
    async with Fanout() as fanout:
        started(fanout, says("a"), hangs())
        assert await fanout.ready() is None
        await settle()
        assert await fanout.ready() is not None
        piece = await fanout.ready()
        assert piece is not None
        assert isinstance(piece[1], Completion)
        assert await fanout.ready() is None
