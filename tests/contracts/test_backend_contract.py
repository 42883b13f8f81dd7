"""What every backend owes its callers: a worker, a pool, a metered backend and the fake."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

import pytest

from entroute.backends.balancing import LeastLoaded
from entroute.backends.metered import Metered, Stopwatch
from entroute.backends.pool import Pool
from entroute.errors import CallFailed, DeadlineExceeded, WorkerRejected
from entroute.ledger import Ledger
from entroute.protocols import Backend
from entroute.spending import Budget
from entroute.types import Call, Completion, Delta
from loadtest.spawn import FakeWorker
from tests.builders import a_call, a_request, a_trace, read, read_until, until
from tests.scripted import FakeBackend, collect, fails, hangs, says
from tests.workers import Connect, running

ANSWER = "It has eight legs."
PIECES = ("It", " has", " eight", " legs", ".")
KINDS = ["worker", "pool", "metered", "fake"]


@dataclass
class Subject:
    """A backend, a call it may answer, and what upstream sees of it."""

    backend: Backend
    call: Call
    busy: Callable[[int], Awaitable[None]]


class Bench:
    """Makes subjects of one kind in one of four moods."""

    def __init__(self, kind: str, worker: FakeWorker, connect: Connect) -> None:
        self._kind = kind
        self._worker = worker
        self._connect = connect

    async def answering(self) -> Subject:
        await self._worker.script(answer=ANSWER)
        return self._subject(FakeBackend(says(*PIECES)))

    async def endless(self) -> Subject:
        await self._worker.script(answer=ANSWER, failure={"kind": "stall", "after_tokens": 2})
        return self._subject(FakeBackend(hangs(after=2)))

    async def failing(self, after: int) -> Subject:
        kind = "truncated" if after else "refuse"
        await self._worker.script(answer=ANSWER, failure={"kind": kind, "after_tokens": after})
        return self._subject(FakeBackend(fails(CallFailed("scripted"), after=after)))

    async def rejecting(self) -> Subject:
        error = WorkerRejected("w", "too long", status=400, param=None, code=None)
        return self._subject(FakeBackend(fails(error)), words=600)

    def _subject(self, fake: FakeBackend, words: int = 5) -> Subject:
        request = a_request("word " * words)
        call = a_call(request, deadline=time.perf_counter() + 10)
        if self._kind == "fake":

            async def busy(value: int) -> None:
                await until(lambda: fake.running == value)

            return Subject(fake, call, busy)
        worker = self._connect(self._worker.url)
        backend: Backend = worker
        if self._kind != "worker":
            backend = Pool("small", [worker], LeastLoaded())
        if self._kind == "metered":
            budget = Budget(4, 100_000, call.deadline)
            ledger = Ledger(budget, {}, time.perf_counter)
            call = ledger.reserve("small", request, "answer")
            backend = Metered(backend, ledger, Stopwatch(a_trace(), time.perf_counter))

        async def busy_worker(value: int) -> None:
            await running(self._worker, value)

        return Subject(backend, call, busy_worker)


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest, worker: FakeWorker, connect: Connect) -> Bench:
    return Bench(request.param, worker, connect)


async def test_a_stream_ends_with_one_completion_of_all_its_deltas(bench: Bench) -> None:
    subject = await bench.answering()
    deltas, completion = await read(subject.backend.stream(subject.call))
    assert completion.content == "".join(delta.content for delta in deltas) == ANSWER
    assert len(deltas) == 5
    assert completion.usage.completion_tokens == 5
    assert completion.call_id == subject.call.id


async def test_a_whole_answer_has_its_usage(bench: Bench) -> None:
    subject = await bench.answering()
    completion = await subject.backend.complete(subject.call)
    assert completion.content == ANSWER
    assert (completion.usage.completion_tokens, completion.usage.calls) == (5, 1)
    assert completion.usage.prompt_tokens > 0


async def test_collecting_a_stream_is_its_completion(bench: Bench) -> None:
    subject = await bench.answering()
    assert (await collect(subject.backend.stream(subject.call))).content == ANSWER


async def test_closing_early_cancels_upstream(bench: Bench) -> None:
    subject = await bench.endless()
    async with aclosing(subject.backend.stream(subject.call)) as pieces:
        assert isinstance(await anext(pieces), Delta)
        await subject.busy(1)
    await subject.busy(0)


@pytest.mark.parametrize("stream", [True, False])
async def test_cancelling_the_reader_cancels_upstream(bench: Bench, stream: bool) -> None:  # noqa: FBT001
    subject = await bench.endless()

    async def ask() -> Completion:
        if stream:
            return await collect(subject.backend.stream(subject.call))
        return await subject.backend.complete(subject.call)

    task = asyncio.create_task(ask())
    await subject.busy(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await subject.busy(0)


@pytest.mark.parametrize("after", [0, 2])
async def test_a_failure_is_a_call_failed_after_the_deltas_before_it(
    bench: Bench, after: int
) -> None:
    subject = await bench.failing(after)
    pieces, _ = await read_until(subject.backend.stream(subject.call), CallFailed)
    assert len(pieces) == after
    assert not any(isinstance(piece, Completion) for piece in pieces)
    await subject.busy(0)


async def test_a_failed_whole_answer_is_a_call_failed(bench: Bench) -> None:
    subject = await bench.failing(0)
    with pytest.raises(CallFailed):
        await subject.backend.complete(subject.call)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_wrong_request_is_rejected(bench: Bench, stream: bool) -> None:  # noqa: FBT001
    subject = await bench.rejecting()
    stream_or_whole = subject.backend.stream(subject.call)
    asked = read(stream_or_whole) if stream else subject.backend.complete(subject.call)
    with pytest.raises(WorkerRejected):
        await asked
    await stream_or_whole.aclose()


@pytest.mark.parametrize("kind", KINDS[:3])
async def test_the_deadline_ends_a_call_that_hangs(
    kind: str, worker: FakeWorker, connect: Connect
) -> None:
    await worker.script(failure={"kind": "hang"})
    client = connect(worker.url)
    backend: Backend = client if kind == "worker" else Pool("small", [client], LeastLoaded())
    deadline = time.perf_counter() + 0.1
    call = a_call(deadline=deadline)
    if kind == "metered":
        ledger = Ledger(Budget(1, 100, deadline), {}, time.perf_counter)
        call = ledger.reserve("small", a_request(), "answer")
        backend = Metered(backend, ledger, Stopwatch(a_trace(), time.perf_counter))
    with pytest.raises(DeadlineExceeded):
        await read(backend.stream(call))
