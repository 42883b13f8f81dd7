"""A server process dies, or hangs; the supervisor dies."""

import asyncio
import os
import signal
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from entroute.serving import listening
from tests.api.conftest import Workers
from tests.server_processes.conftest import Gateway, Serve, until, until_counted

pytestmark = pytest.mark.asyncio(loop_scope="session")

REQUESTS = "entroute_requests_total"
RESTARTS = "entroute_process_restarts_total"
COUNTED = ("_total", "_count", "_sum", "_bucket")

Page = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Watch:
    """Reads the page again and again and notes what fell."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.pages = 0
        self.fell: list[str] = []
        self._last: Page = {}

    async def look(self) -> None:
        try:
            page = await self._gateway.page()
        except httpx.TransportError:  # it was the victim that was asked
            return
        self.pages += 1
        for series, before in self._last.items():
            if series[0].endswith(COUNTED) and page.get(series, -1.0) < before:
                self.fell.append(f"{series}: {before} -> {page.get(series)}")
        self._last = page

    async def until(self, done: asyncio.Event) -> None:
        while not done.is_set():
            await self.look()
            await asyncio.sleep(0.05)


async def asking(gateway: Gateway, done: asyncio.Event, answers: list[int]) -> None:
    """Ask again and again; 0 stands for a connection that broke."""
    number = 0
    while not done.is_set():
        number += 1
        try:
            answers.append((await gateway.client.chat(f"Hi {number}")).status_code)
        except httpx.TransportError:
            answers.append(0)


async def test_a_process_killed_under_load_is_replaced_and_no_counter_falls(
    serve: Serve, workers: Workers
):
    await workers.small.script(ttft_ms=20)
    gateway = await serve(3)
    done, answers, watch = asyncio.Event(), list[int](), Watch(gateway)
    tasks = [asyncio.create_task(asking(gateway, done, answers)) for _ in range(6)]
    tasks.append(asyncio.create_task(watch.until(done)))
    await until(lambda: len(gateway.answered_by()) > 1 and len(answers) > 100)
    for restarts in (1, 2):
        victim = gateway.pids[0]
        os.kill(victim, signal.SIGKILL)
        before = len(answers)
        await until(lambda so_far=before: len(answers) > so_far + 100)  # type: ignore[misc]
        await until_counted(gateway, restarts, RESTARTS)
        await until_counted(gateway, 3, "entroute_processes_up")
        assert victim not in gateway.pids
    done.set()
    await asyncio.gather(*tasks)
    await watch.look()
    assert watch.fell == []
    assert watch.pages > 20
    assert set(answers) <= {200, 0}
    assert answers.count(0) <= 12  # what was on the connections of two victims
    # A death forgets what came after the process was last asked, half a second before.
    counted, done_ = await gateway.sample(REQUESTS), answers.count(200)
    assert 0.5 * done_ < counted <= len(answers)
    await until_counted(gateway, 0, "entroute_requests_in_flight")
    assert await gateway.sample("entroute_worker_inflight") == 0


async def test_a_death_at_rest_forgets_nothing_counted(serve: Serve):
    gateway = await serve()
    await asyncio.gather(*(gateway.client.chat(f"Hi {n}") for n in range(40)))
    before = await gateway.page()
    for pid in gateway.pids:
        os.kill(pid, signal.SIGKILL)
    await until_counted_anew(gateway, 2)
    after = await gateway.page()
    counted = {s: v for s, v in before.items() if s[0].endswith(COUNTED) and "redis" not in s[0]}
    assert {series: after[series] for series in counted if series[0] != RESTARTS} == {
        series: value for series, value in counted.items() if series[0] != RESTARTS
    }
    assert await gateway.sample(REQUESTS) == 40


async def until_counted_anew(gateway: Gateway, restarts: int) -> None:
    """Wait until so many restarts are done and answer; meanwhile nobody may listen."""
    async with asyncio.timeout(60):
        while True:
            try:
                if await gateway.sample(RESTARTS) == restarts:
                    break
            except (httpx.TransportError, AssertionError):
                pass
            await asyncio.sleep(0.1)
    await until_counted(gateway, 2, "entroute_processes_up")


async def test_what_a_dead_process_was_doing_is_no_longer_in_flight(serve: Serve, workers: Workers):
    await workers.small.script(ttft_ms=60_000)
    gateway = await serve()
    asks = [asyncio.create_task(gateway.client.chat(f"Hi {n}")) for n in range(20)]
    await until_counted(gateway, 20, "entroute_requests_in_flight")
    assert await gateway.sample("entroute_worker_inflight") == 20
    for restarts, victim in enumerate(gateway.pids, start=1):
        os.kill(victim, signal.SIGKILL)
        await until_counted(gateway, restarts, RESTARTS)
        left = sum(not ask.done() for ask in asks)
        await until_counted(gateway, left, "entroute_requests_in_flight")
        await until_counted(gateway, left, "entroute_worker_inflight")
    assert left == 0
    assert all(isinstance(ask.exception(), httpx.TransportError) for ask in asks)


async def test_a_process_that_hangs_holds_up_neither_answers_nor_the_page(serve: Serve):
    gateway = await serve()
    await asyncio.gather(*(gateway.client.chat(f"Hi {n}") for n in range(40)))
    assert await gateway.sample(REQUESTS) == 40
    hung = gateway.pids[0]
    os.kill(hung, signal.SIGSTOP)
    try:
        for n in range(20):
            assert (await gateway.client.chat(f"Ho {n}")).status_code == 200
        await until_counted(gateway, 1, "entroute_processes_up")
        began = time.monotonic()
        for _ in range(5):
            assert await gateway.sample(REQUESTS) == 60  # its own as it last told them
        assert time.monotonic() - began < 5
    finally:
        os.kill(hung, signal.SIGCONT)
    await until_counted(gateway, 2, "entroute_processes_up")
    assert await gateway.sample(REQUESTS) == 60
    assert await gateway.sample(RESTARTS) == 0


async def test_a_supervisor_that_hangs_holds_up_no_answer_and_no_page_is_made_up(serve: Serve):
    gateway = await serve()
    assert (await gateway.client.chat("Hi")).status_code == 200
    gateway.served.process.send_signal(signal.SIGSTOP)
    try:
        assert (await gateway.client.get("/metrics")).status_code == 503
        assert (await gateway.client.chat("Ho")).status_code == 200
    finally:
        gateway.served.process.send_signal(signal.SIGCONT)
    assert await gateway.sample(REQUESTS) == 2


async def test_a_process_that_is_asked_to_stop_loses_nothing_and_is_replaced(
    serve: Serve, workers: Workers
):
    await workers.small.script(tokens=40, tokens_per_second=40)
    gateway = await serve()
    asks = [asyncio.create_task(gateway.client.events(f"Hi {n}")) for n in range(20)]
    await until_counted(gateway, 20, "entroute_requests_in_flight")
    os.kill(gateway.pids[0], signal.SIGTERM)
    for events in await asyncio.gather(*asks):
        assert len(events.text.split()) == 40
        assert events.done
    await until_counted(gateway, 1, RESTARTS)
    await until_counted(gateway, 2, "entroute_processes_up")
    assert await gateway.sample(REQUESTS) == 20


async def test_without_its_supervisor_every_process_ends_and_the_port_is_free(
    serve: Serve, workers: Workers
):
    await workers.small.script(tokens=20, tokens_per_second=20)
    gateway = await serve()
    pids, port = gateway.pids, urlsplit(gateway.served.url).port
    assert port is not None
    asks = [asyncio.create_task(gateway.client.events(f"Hi {n}")) for n in range(10)]
    await until_counted(gateway, 10, "entroute_requests_in_flight")
    gateway.served.process.kill()
    for events in await asyncio.gather(*asks):  # what runs may end
        assert len(events.text.split()) == 20
    await until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in pids))
    with closing(listening("127.0.0.1", port, "server.")):
        pass
