"""What workers say of their load: pages of metrics, workers that hang, and the pool's sum."""

import time
from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.backends.balancing import LeastLoaded
from entroute.backends.health import HealthSweeps
from entroute.backends.member import Member
from entroute.backends.pool import Pool
from entroute.backends.worker_load import MOST_BYTES, LoadReader, Reports, load_of
from entroute.decisions import WorkerLoad
from loadtest.spawn import FakeWorker
from tests.builders import a_call
from tests.fakes import FakeWorkerView
from tests.scripted import FakeClock
from tests.workers import Connect

VLLM = b"""# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="small"} 3.0
vllm:num_requests_running{engine="1",model_name="small"} 2.0
vllm:num_requests_waiting{engine="0",model_name="odd } name"} 4.0
vllm:num_requests_waiting{engine="1",model_name="small"} 0.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 90.0
vllm:kv_cache_usage_perc{engine="0",model_name="small"} 0.75
vllm:kv_cache_usage_perc{engine="1",model_name="small"} 0.25
"""
LLAMACPP = b"llamacpp:requests_processing 2\nllamacpp:requests_deferred 1"


def test_vllms_engines_are_added_up() -> None:
    assert load_of(VLLM, own=2, now=7.0) == WorkerLoad(5, 4, 7, 0.5, 7.0)


def test_llamacpp_says_no_kv_use() -> None:
    assert load_of(LLAMACPP, own=0, now=0.0) == WorkerLoad(2, 1, 3, None, 0.0)


def test_a_gateway_with_more_calls_than_its_worker_counts_leaves_none_to_others() -> None:
    told = load_of(LLAMACPP, own=9, now=0.0)
    assert told is not None
    assert told.others == 0


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"<html>",
        b"vllm:num_requests_running 3\n",
        b"vllm:num_requests_running NaN\nvllm:num_requests_waiting 0\n",
        b"vllm:num_requests_running -1\nvllm:num_requests_waiting 0\n",
        b"vllm:num_requests_running{a\nvllm:num_requests_waiting{a\n",
        b"# vllm:num_requests_running 1\n# vllm:num_requests_waiting 1\n",
        VLLM.replace(b"num_requests", b"requests"),
    ],
)
def test_a_page_that_does_not_tell_is_no_load(page: bytes) -> None:
    assert load_of(page, own=0, now=0.0) is None


@given(st.binary(max_size=200), st.integers(0, 9))
def test_no_page_is_an_error(page: bytes, own: int) -> None:
    told = load_of(b"vllm:num_requests_waiting 1\nvllm:num_requests_running" + page, own, 0.0)
    assert told is None or min(told.running, told.waiting, told.others) >= 0


def answering(*pieces: bytes, status: int = 200) -> httpx.MockTransport:
    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    return httpx.MockTransport(lambda _: httpx.Response(status, content=body()))


async def found(connect: Connect, transport: httpx.MockTransport, engine: str) -> WorkerLoad | None:
    """What is known of a worker that was loaded before it was read once more."""
    member = Member(connect("http://127.0.0.1:1"))
    member.worker.engine = engine
    member.load = WorkerLoad(1, 1, 1, None, 0.0)
    async with httpx.AsyncClient(transport=transport) as client:
        await LoadReader(client, time.monotonic, timeout_s=1.0).read(member)
    return member.load


async def test_a_page_in_pieces_is_read(connect: Connect) -> None:
    told = await found(connect, answering(VLLM[:90], VLLM[90:]), "vllm")
    assert told is not None
    assert told.running == 5


@pytest.mark.parametrize(
    ("transport", "engine"),
    [
        (answering(VLLM, status=404), "vllm"),
        (answering(VLLM, b"x" * MOST_BYTES), "vllm"),
        (answering(VLLM), "sglang"),
        (answering(VLLM), ""),
    ],
)
async def test_what_cannot_be_had_is_unknown(
    connect: Connect, transport: httpx.MockTransport, engine: str
) -> None:
    assert await found(connect, transport, engine) is None


async def test_a_worker_that_cannot_tell_is_healthy_all_the_same(connect: Connect) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/metrics":
            raise httpx.ReadTimeout("slow")
        return httpx.Response(200, json={"data": [{"id": "small", "owned_by": "vllm"}]})

    pool = Pool("small", [connect("http://127.0.0.1:1")], LeastLoaded())
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        await HealthSweeps([pool], client, time.monotonic, interval_s=60, timeout_s=1).sweep()
    assert pool.available
    assert pool.members[0].load is None
    assert (pool.load.waiting, pool.load.kv_use) == (None, None)


async def test_a_sweep_reads_what_others_have_in_a_worker(
    worker: FakeWorker, connect: Connect
) -> None:
    await worker.script(tokens=400, tokens_per_second=100)
    stranger, pool = connect(worker.url), Pool("small", [connect(worker.url)], LeastLoaded())
    async with httpx.AsyncClient() as client:
        sweeps = HealthSweeps([pool], client, time.monotonic, interval_s=60, timeout_s=5)
        theirs, ours = stranger.stream(a_call()), pool.stream(a_call())
        await anext(theirs)
        await anext(ours)
        await sweeps.sweep()
        told = pool.members[0].load
        assert told is not None
        assert (told.running, told.waiting, told.others) == (2, 0, 1)
        assert pool.load.waiting == 0
        assert pool.load.kv_use is not None
        await theirs.aclose()
        await ours.aclose()


async def test_a_worker_that_dies_has_no_load(connect: Connect) -> None:
    pool = Pool("small", [connect("http://127.0.0.1:1")], LeastLoaded())
    pool.members[0].load = WorkerLoad(1, 1, 1, None, 0.0)
    async with httpx.AsyncClient(transport=answering(status=500)) as client:
        await HealthSweeps([pool], client, time.monotonic, interval_s=60, timeout_s=1).sweep()
    assert pool.members[0].load is None


def viewed(in_flight: int, others: int, read_at: float) -> FakeWorkerView:
    load = WorkerLoad(in_flight + others, 0, others, None, read_at)
    return FakeWorkerView(in_flight=in_flight, load=load)


def test_others_calls_count_while_all_workers_told_lately() -> None:
    clock = FakeClock()
    reports = Reports(clock, fresh_s=10)
    workers = [viewed(1, 5, clock()), viewed(2, 0, clock() - 9)]
    assert reports.busy(workers) == [6, 2]
    assert reports.busy([*workers, FakeWorkerView(in_flight=4)]) == [1, 2, 4]
    clock.advance(1)
    assert reports.busy(workers) == [1, 2]
