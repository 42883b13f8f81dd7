"""SIGHUP: a new configuration takes over at once and whole; who was asked before goes on."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from loadtest.spawn import fake_worker
from tests.api.conftest import Client, Workers, base_settings, client_of, eventually
from tests.gateway_process import Served, merged, served
from tests.openai_wire import CheckedTransport, read_events
from tests.reloads import WITHIN_S, outcomes, reloaded, write

pytestmark = pytest.mark.asyncio(loop_scope="session")


@asynccontextmanager
async def running(folder: Path, settings: dict[str, Any]) -> AsyncIterator[tuple[Served, Client]]:
    """Run a gateway; at the end it has exited with 0 and without a traceback."""
    transport = CheckedTransport(limits=httpx.Limits(max_connections=None))
    with served(folder, settings) as gateway:
        async with httpx.AsyncClient(transport=transport, timeout=WITHIN_S) as http:
            yield gateway, client_of(gateway.url, http)
        gateway.terminate()
        assert await asyncio.to_thread(gateway.process.wait, WITHIN_S) == 0
    assert "Traceback" not in gateway.log.read_text()


def small_at(settings: dict[str, Any], *urls: str, **changes: Any) -> dict[str, Any]:
    """Return settings whose small tier has these workers."""
    small, large = settings["tiers"]
    workers = [{"url": f"{url}/v1"} for url in urls]
    return {**settings, "tiers": [{**small, "workers": workers, **changes}, large]}


async def test_streams_end_where_they_began_and_new_requests_go_elsewhere(
    workers: Workers, tmp_path: Path
):
    old = base_settings(workers)
    await workers.small.script(tokens=90, tokens_per_second=30)
    async with (
        fake_worker(model="qwen-small", answer="from the new one") as other,
        running(tmp_path, old) as (gateway, client),
    ):
        asking = [
            asyncio.create_task(client.chat(f"number {n}", stream=bool(n % 4))) for n in range(20)
        ]

        async def busy() -> float:
            return (await workers.small.metrics())["vllm:num_requests_running"]

        assert await eventually(busy, 20, within_s=WITHIN_S)
        assert await reloaded(gateway, small_at(old, other.url)) == "configuration reloaded: tiers"
        assert not any(task.done() for task in asking)
        assert await client.sample("entroute_requests_in_flight") == 20
        new = await client.answer("asked later")
        assert new["choices"][0]["message"]["content"] == "from the new one"
        whole = " ".join(f"word{n}" for n in range(90))
        for number, answer in enumerate(await asyncio.gather(*asking)):
            assert answer.status_code == 200
            if number % 4:
                events = read_events(answer.text)
                assert events.done
                assert events.text == whole
            else:
                assert answer.json()["choices"][0]["message"]["content"] == whole
        assert len(await workers.small.requests()) == 20
        assert await client.sample("entroute_reloads_total", result="applied") == 1
        port = other.url.rpartition(":")[2]
        up = "entroute_worker_up"
        assert await client.sample(up, tier="small", worker=f"127.0.0.1:{port}") == 1
        assert await client.sample(up, tier="small") == 1  # that of the worker that left is gone
        assert await client.sample("entroute_requests_total", outcome="ok") == 21


async def test_everything_of_the_walk_follows(workers: Workers, tmp_path: Path):
    old = base_settings(workers)
    await workers.small.script(tokens=60)
    async with running(tmp_path, old) as (gateway, client):
        assert (await client.chat("one", ignore_eos=True)).status_code == 400
        static = {"kind": "static", "tier": "large", "strategy": "single"}
        new = merged(
            {**old, "policy": static},
            {
                "allow_fields": ["ignore_eos"],
                "limits": {"max_generated_tokens": 20},
                "server": {"log_level": "warning", "max_body_bytes": 4096},
            },
        )
        small, large = new["tiers"]
        new["tiers"] = [{**small, "price": {"prompt": 0.0, "completion": 1000.0}}, large]
        said = await reloaded(gateway, new)
        assert said == "configuration reloaded: server, tiers, policy, limits, allow_fields"
        assert (await client.chat("one", ignore_eos=True)).status_code == 200
        answer = await client.answer("two", model="auto")
        assert answer["model"] == "qwen-large"
        spent = (await client.answer("three"))["usage"]["entroute"]
        assert spent["completion_tokens"] == 20
        assert spent["cost_usd"] == pytest.approx(20 * 1000e-6)
        assert (await client.chat("x" * 5000)).status_code == 413
        requests = gateway.log.read_text().count('"event": "request"')
    assert requests == 1  # the first: then the log's level was raised


async def test_the_same_file_changes_nothing(workers: Workers, tmp_path: Path):
    settings = base_settings(workers)
    async with running(tmp_path, settings) as (gateway, client):
        assert await reloaded(gateway) == "configuration reloaded: nothing has changed"
        assert await reloaded(gateway, {**settings}) == (
            "configuration reloaded: nothing has changed"
        )
        assert await client.sample("entroute_reloads_total", result="unchanged") == 2


async def test_of_many_signals_the_latest_file_wins(workers: Workers, tmp_path: Path):
    settings = base_settings(workers)
    async with running(tmp_path, settings) as (gateway, client):
        small, large = settings["tiers"]
        for number in range(20):
            write(gateway, {**settings, "tiers": [{**small, "name": f"small-{number}"}, large]})
            gateway.process.send_signal(signal.SIGHUP)
            await asyncio.sleep(0.01)

        async def named() -> float:
            return "small-19" in (await client.get("/v1/models")).text

        assert await eventually(named, True, within_s=WITHIN_S)
        said = outcomes(gateway.log)
        assert set(said) == {"configuration reloaded: tiers"}
        assert await client.sample("entroute_reloads_total") == len(said)


async def test_a_signal_while_the_server_leaves_is_ignored(workers: Workers, tmp_path: Path):
    settings = base_settings(workers, server={"drain_delay_s": 2.0})
    async with running(tmp_path, settings) as (gateway, client):
        gateway.terminate()
        said = await reloaded(gateway, merged(settings, {"limits": {"max_calls": 2}}))
        assert said == "reload ignored: the server is draining"
        assert (await client.chat()).status_code == 200


async def test_a_reload_that_waits_for_a_worker_does_not_hold_the_end(
    workers: Workers, tmp_path: Path
):
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.set()
        await reader.read()
        writer.close()

    called = asyncio.Event()
    server = await asyncio.start_server(deaf, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    settings = base_settings(workers, health={"timeout_s": 500})
    async with server, running(tmp_path, settings) as (gateway, _):
        write(gateway, small_at(settings, url))
        gateway.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(WITHIN_S):
            await called.wait()
    assert outcomes(gateway.log) == []


async def test_a_signal_before_the_server_is_ready_ends_nothing(workers: Workers, tmp_path: Path):
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await hung_up.wait()
        writer.close()

    asked, hung_up = asyncio.Event(), asyncio.Event()
    server = await asyncio.start_server(slow, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    settings = small_at(base_settings(workers), workers.small.url, url)
    async with server:
        entering = asyncio.create_task(asyncio.to_thread(entered, tmp_path, settings))
        async with asyncio.timeout(WITHIN_S):
            await asked.wait()
        pid = int((tmp_path / "gateway.log").read_text().partition("process [")[2].split("]")[0])
        os.kill(pid, signal.SIGHUP)
        await asyncio.sleep(0.2)
        hung_up.set()
        said = await entering
    assert said == ["configuration reloaded: nothing has changed"]


def entered(folder: Path, settings: dict[str, Any]) -> list[str]:
    """Run a gateway until it has said something of a reload."""
    with served(folder, settings) as gateway:
        while not outcomes(gateway.log) and gateway.process.poll() is None:
            time.sleep(0.02)
    return outcomes(gateway.log)


async def test_a_worker_that_stays_keeps_its_calls_and_its_health(workers: Workers, tmp_path: Path):
    settings = base_settings(workers, health={"interval_s": 600})
    await workers.large.script(tokens=300, tokens_per_second=30)
    async with running(tmp_path, settings) as (gateway, client):
        asking = asyncio.create_task(client.chat("long", model="large", stream=True))

        async def in_flight() -> float:
            return await client.sample("entroute_worker_inflight", tier="large")

        assert await eventually(in_flight, 1, within_s=WITHIN_S)
        attempts = await client.sample("entroute_upstream_attempts_total", tier="small")
        await client.answer("counted")
        changed = merged(settings, {"limits": {"max_calls": 5}, "retries": {"attempts": 2}})
        await reloaded(gateway, changed)
        assert await in_flight() == 1
        asking.cancel()
        await asyncio.wait([asking])
        assert await eventually(in_flight, 0, within_s=WITHIN_S)
        after = await client.sample("entroute_upstream_attempts_total", tier="small")
        assert after == attempts + 1


async def test_many_reloads_under_load_leak_nothing(workers: Workers, tmp_path: Path):
    settings = base_settings(workers)
    await workers.small.script(tokens=20, tokens_per_second=100)
    async with running(tmp_path, settings) as (gateway, client):
        stop = asyncio.Event()
        answered = 0

        async def ask(lane: int) -> None:
            nonlocal answered
            while not stop.is_set():
                events = await client.events(f"{lane} {answered} {os.urandom(4).hex()}")
                assert events.done
                answered += 1

        async def change(number: int) -> None:
            limits = {"limits": {"max_calls": 2 + number % 2}, "timeouts": {"total_s": 90 + number}}
            assert (await reloaded(gateway, merged(settings, limits))).startswith("config")

        lanes = [asyncio.create_task(ask(lane)) for lane in range(8)]
        for number in range(3):
            await change(number)
        await asyncio.sleep(0.5)
        before = await settled(gateway)
        for number in range(3, 33):
            await change(number)
        stop.set()
        await asyncio.gather(*lanes)
        assert answered > 30
        after = await settled(gateway)
        assert after <= before + 3
        assert await client.sample("entroute_reloads_total", result="applied") == 33
        assert await client.sample("entroute_requests_in_flight") == 0


async def settled(gateway: Served) -> int:
    """Return the least number of open files over a while: kept connections come and go."""
    least = 10**9
    for _ in range(40):
        least = min(least, open_files(gateway.process.pid))
        await asyncio.sleep(0.1)
    return least


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def test_an_open_breaker_stays_open(workers: Workers, tmp_path: Path):
    breaker = {"failures": 3, "open_s": 50}
    settings = base_settings(workers, breaker=breaker, retries={"attempts": 1})
    await workers.small.script(failure={"kind": "status", "status": 500})
    async with running(tmp_path, settings) as (gateway, client):

        async def state() -> float:
            return await client.sample("entroute_worker_breaker_state", tier="small")

        for number in range(20):
            await client.chat(f"number {number}")
            if await state() == 2:
                break
        asked = len(await workers.small.requests())
        await reloaded(gateway, merged(settings, {"breaker": {"open_s": 40}}))
        assert await state() == 2
        assert (await client.chat("one more")).status_code == 503
        assert len(await workers.small.requests()) == asked


async def test_a_worker_of_other_timeouts_begins_anew(workers: Workers, tmp_path: Path):
    settings = base_settings(workers)
    async with running(tmp_path, settings) as (gateway, client):
        assert (await client.chat("before")).status_code == 200
        changed = merged(settings, {"timeouts": {"connect_s": 0.7, "total_s": 20}})
        assert await reloaded(gateway, changed) == "configuration reloaded: timeouts"
        assert (await client.chat("after")).status_code == 200
        assert await client.sample("entroute_worker_up", tier="small") == 1
