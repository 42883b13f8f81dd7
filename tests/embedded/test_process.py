import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from entroute.embedded.engine import free_port
from entroute.embedded.process import EngineProcess, ProcessSpec, RestartPolicy
from entroute.errors import EngineError

SERVER = str(Path(__file__).with_name("fake_server.py"))
Launch = Callable[..., EngineProcess]


def spec_of(mode: str = "", *, startup_timeout_s: float = 20, grace_s: float = 5) -> ProcessSpec:
    port = free_port()
    return ProcessSpec(
        name="fake",
        command=(sys.executable, SERVER, str(port), mode),
        port=port,
        startup_timeout_s=startup_timeout_s,
        grace_s=grace_s,
        restart=RestartPolicy(first_delay_s=0.05, longest_delay_s=0.2),
    )


@pytest.fixture
async def launch() -> AsyncIterator[Launch]:
    processes: list[EngineProcess] = []

    def make(mode: str = "", **limits: float) -> EngineProcess:
        processes.append(EngineProcess(spec_of(mode, **limits)))
        return processes[-1]

    yield make
    for process in processes:
        await process.stop()


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").split()[2] != "Z"
    except FileNotFoundError:
        return False


def children_of(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8")
    return [int(child) for child in listed.split()]


async def until(condition: Callable[[], bool], limit_s: float = 15) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110  another process's state has no event
            await asyncio.sleep(0.02)


async def answering_pid(process: EngineProcess) -> int:
    async with httpx.AsyncClient(trust_env=False) as client:
        return int((await client.get(f"{process.url}/models")).text)


async def test_a_started_process_answers_at_its_url(launch: Launch) -> None:
    process = launch()
    assert process.pid is None

    await process.start()

    assert process.running
    assert process.url.endswith("/v1")
    assert await answering_pid(process) == process.pid


async def test_a_second_start_changes_nothing(launch: Launch) -> None:
    process = launch()
    await process.start()
    pid = process.pid

    await process.start()

    assert process.pid == pid


async def test_a_death_during_the_start_shows_the_last_lines(launch: Launch) -> None:
    with pytest.raises(EngineError, match=r"status 1 (?s:.*)weights of the wrong shape"):
        await launch("dies").start()


async def test_a_start_that_takes_too_long_is_ended(launch: Launch) -> None:
    process = launch("silent", startup_timeout_s=0.5)

    with pytest.raises(EngineError, match=r"no answer within 0\.5 s \(startup_timeout_s\)"):
        await process.start()

    assert not process.running


async def test_a_port_in_use_is_named() -> None:
    spec = spec_of()
    with socket.socket() as other:
        other.bind(("127.0.0.1", spec.port))
        other.listen()
        with pytest.raises(EngineError, match=f"port {spec.port} is in use"):
            await EngineProcess(spec).start()


async def test_a_command_that_does_not_exist_is_named() -> None:
    with pytest.raises(EngineError, match="cannot run /no/such/program"):
        await EngineProcess(ProcessSpec("fake", ("/no/such/program",), free_port())).start()


async def test_a_killed_server_is_started_again_at_the_same_url(launch: Launch) -> None:
    process = launch()
    await process.start()
    url, first = process.url, process.pid
    assert first is not None

    os.kill(first, signal.SIGKILL)
    await until(lambda: process.pid not in {first, None})

    assert process.url == url
    assert await answering_pid(process) == process.pid


async def test_restarts_go_on_after_one_that_fails(launch: Launch) -> None:
    process = launch()
    await process.start()
    first = process.pid
    assert first is not None
    port = int(process.url.split(":")[2].split("/")[0])

    os.kill(first, signal.SIGKILL)
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        await until(lambda: not process.running)
        thief.bind(("127.0.0.1", port))
        thief.listen()
        await asyncio.sleep(0.3)
        assert not process.running
    await until(lambda: process.running)

    assert await answering_pid(process) == process.pid


async def test_stop_leaves_no_process(launch: Launch) -> None:
    process = launch()
    await process.start()
    pid = process.pid
    assert pid is not None

    await process.stop()
    await asyncio.sleep(0.3)

    assert not process.running
    assert not is_alive(pid)


async def test_a_server_deaf_to_sigterm_is_killed_after_the_grace(launch: Launch) -> None:
    process = launch("deaf", grace_s=0.3)
    await process.start()
    pid = process.pid
    assert pid is not None
    started = time.monotonic()

    await process.stop()

    assert not is_alive(pid)
    assert 0.3 <= time.monotonic() - started < 5


async def test_stop_ends_the_servers_own_children(launch: Launch) -> None:
    process = launch("parent")
    await process.start()
    pid = process.pid
    assert pid is not None
    (helper,) = children_of(pid)

    await process.stop()

    await until(lambda: not is_alive(helper))


async def test_a_cancelled_start_leaves_no_process(launch: Launch) -> None:
    process = launch("silent")
    start = asyncio.create_task(process.start())
    before = set(children_of(os.getpid()))
    await until(lambda: set(children_of(os.getpid())) > before)
    (pid,) = set(children_of(os.getpid())) - before
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start

    assert not is_alive(pid)


async def test_stop_without_start_does_nothing(launch: Launch) -> None:
    process = launch()

    await process.stop()

    assert process.pid is None
