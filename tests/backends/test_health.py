"""Health sweeps over real fake workers and over made-up answers."""

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
import pytest_asyncio

from entroute.backends.balancing import RoundRobin
from entroute.backends.health import HealthSweeps
from entroute.backends.pool import Pool
from loadtest.spawn import FakeWorker, fake_worker
from tests.builders import until
from tests.scripted import FakeClock
from tests.workers import CONTEXT, Connect


@pytest_asyncio.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as made:
        yield made


def a_pool(connect: Connect, *urls: str, **facts: str) -> Pool:
    return Pool("small", [connect(url, **facts) for url in urls], RoundRobin())


def sweeps(pool: Pool, client: httpx.AsyncClient, interval_s: float = 60.0) -> HealthSweeps:
    return HealthSweeps([pool], client, time.monotonic, interval_s=interval_s, timeout_s=1.0)


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


async def test_a_sweep_tells_the_living_from_the_dead(
    worker: FakeWorker, connect: Connect, client: httpx.AsyncClient
) -> None:
    pool = a_pool(connect, worker.url, closed_port())
    await sweeps(pool, client).sweep()
    alive, dead = pool.members
    assert (alive.healthy, alive.detail, alive.context_length) == (True, "", CONTEXT)
    assert not dead.healthy
    assert "/v1/models: ConnectError" in dead.detail
    assert pool.available


async def test_a_sweep_learns_a_llamacpp_servers_engine_and_context(
    connect: Connect,
) -> None:
    model = {"id": "small", "owned_by": "llamacpp", "meta": {"n_ctx": 4096}}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json={"data": [model]}))
    async with httpx.AsyncClient(transport=transport) as client:
        pool = a_pool(connect, "http://127.0.0.1:1")
        await sweeps(pool, client).sweep()
    assert pool.members[0].worker.engine == "llamacpp"
    assert pool.context_length == 4096


async def test_a_worker_that_serves_another_model_is_unhealthy(
    worker: FakeWorker, connect: Connect, client: httpx.AsyncClient
) -> None:
    pool = a_pool(connect, worker.url, model="large")
    await sweeps(pool, client).sweep()
    assert not pool.available
    assert pool.members[0].detail == f"{worker.url}/v1 serves ['small'], not 'large'"


async def test_the_key_is_used_and_a_wrong_one_is_unhealthy(
    connect: Connect, client: httpx.AsyncClient
) -> None:
    async with fake_worker(model="small", api_key="right") as guarded:
        for key, healthy in (("wrong", False), ("right", True)):
            pool = a_pool(connect, guarded.url, api_key=key)
            await sweeps(pool, client).sweep()
            assert pool.available is healthy
            assert key not in pool.members[0].detail


async def test_a_worker_found_dead_by_a_call_is_healthy_again_after_a_sweep(
    worker: FakeWorker, connect: Connect, client: httpx.AsyncClient
) -> None:
    pool = a_pool(connect, worker.url)
    pool.members[0].healthy, pool.members[0].detail = False, "refused"
    await sweeps(pool, client).sweep()
    assert pool.available
    assert pool.members[0].detail == ""


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: httpx.Response(200, text="<html>"),
        lambda _: httpx.Response(200, json=[]),
        lambda _: httpx.Response(200, json={"data": None}),
        lambda _: httpx.Response(200, json={"data": [{"name": "small"}]}),
        lambda _: httpx.Response(200, json={"data": ["small"]}),
        lambda _: httpx.Response(200, json={"data": [{"id": "small", "meta": "x"}]}),
    ],
)
async def test_an_answer_that_is_no_model_list_is_unhealthy(
    connect: Connect, answer: Callable[[httpx.Request], httpx.Response]
) -> None:
    pool = a_pool(connect, "http://127.0.0.1:1")
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        await sweeps(pool, client).sweep()
    assert pool.members[0].detail == "http://127.0.0.1:1/v1/models is no OpenAI model list"


async def test_a_context_length_is_kept_when_a_later_sweep_is_not_told(
    worker: FakeWorker, connect: Connect, client: httpx.AsyncClient
) -> None:
    pool = a_pool(connect, worker.url)
    await sweeps(pool, client).sweep()
    models = {"data": [{"id": "small"}]}
    silent = httpx.MockTransport(lambda _: httpx.Response(200, json=models))
    async with httpx.AsyncClient(transport=silent) as other:
        await sweeps(pool, other).sweep()
    assert pool.members[0].context_length == CONTEXT


async def test_sweeps_go_on_in_the_background_until_stopped(
    worker: FakeWorker, connect: Connect, client: httpx.AsyncClient
) -> None:
    pool = a_pool(connect, worker.url)
    background = sweeps(pool, client, interval_s=0.01)
    await background.start()
    pool.members[0].healthy = False
    await until(lambda: pool.available)
    await background.stop()
    pool.members[0].healthy = False
    await asyncio.sleep(0.05)
    assert not pool.available


async def test_sweeps_go_on_after_one_that_failed_as_nobody_thought_of(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    asked = 0

    def answer(_: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise RuntimeError("unheard of")
        return httpx.Response(200, json={"data": [{"id": "small"}]})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        background = sweeps(a_pool(connect, "http://127.0.0.1:1"), client, interval_s=0.01)
        await background.start()
        await until(lambda: asked > 3)
        await background.stop()
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "a health sweep failed; the next one follows"
    ]


async def test_stopping_what_never_started_is_harmless(
    connect: Connect, client: httpx.AsyncClient
) -> None:
    await sweeps(a_pool(connect, "http://127.0.0.1:1"), client).stop()


async def test_the_age_is_that_of_the_last_sweep(
    worker: FakeWorker, connect: Connect, client: httpx.AsyncClient
) -> None:
    clock = FakeClock()
    health = HealthSweeps(
        [a_pool(connect, worker.url)], client, clock, interval_s=60, timeout_s=1.0
    )
    assert health.age_s == float("inf")
    await health.sweep()
    clock.advance(7)
    assert health.age_s == 7


async def test_a_change_of_health_is_logged_once(
    connect: Connect, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="entroute")
    health = sweeps(a_pool(connect, closed_port()), client)
    await health.sweep()
    await health.sweep()
    records = [record for record in caplog.records if record.name == "entroute.backends.health"]
    assert [record.levelname for record in records] == ["WARNING"]
