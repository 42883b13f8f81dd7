"""Several server processes load a new configuration, each whole; one that is restarted has it."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import Client, Workers, base_settings, client_of, eventually
from tests.gateway_process import Served, served
from tests.redis_server import RedisServer
from tests.reloads import WITHIN_S, outcomes, write

pytestmark = pytest.mark.asyncio(loop_scope="session")


@asynccontextmanager
async def running(folder: Path, settings: dict[str, Any]) -> AsyncIterator[tuple[Served, Client]]:
    with served(folder, settings, within_s=60) as gateway:
        # One connection a request: any process may answer.
        limits = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(limits=limits, timeout=WITHIN_S) as http:
            yield gateway, client_of(gateway.url, http)
        gateway.terminate()
        assert await asyncio.to_thread(gateway.process.wait, WITHIN_S) == 0


def renamed(settings: dict[str, Any], name: str) -> dict[str, Any]:
    small, large = settings["tiers"]
    return {**settings, "tiers": [{**small, "name": name}, large]}


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8")
    return [int(child) for child in listed.split()]


async def test_all_processes_follow_and_so_does_one_that_is_restarted(
    workers: Workers, redis: RedisServer, tmp_path: Path
):
    shared = {"redis": {"url": redis.url}, "server": {"processes": 2}}
    settings = base_settings(workers, **shared)
    async with running(tmp_path, settings) as (gateway, client):

        async def say(number: float) -> bool:
            async def said() -> float:
                return len(outcomes(gateway.log))

            return await eventually(said, number, within_s=WITHIN_S)

        async def all_name(name: str) -> float:
            pages = [(await client.get("/v1/models")).text for _ in range(20)]
            return all(f'"{name}"' in page for page in pages)

        write(gateway, renamed(settings, "tiny"))
        gateway.process.send_signal(signal.SIGHUP)
        assert await say(2)
        assert outcomes(gateway.log) == ["configuration reloaded: tiers"] * 2
        assert await all_name("tiny")
        assert await client.sample("entroute_reloads_total", result="applied") == 2
        write(gateway, {**settings, "server": {**settings["server"], "processes": 3}})
        gateway.process.send_signal(signal.SIGHUP)
        assert await say(3)  # the supervisor refuses it for all
        assert "server.processes: cannot change without a restart" in outcomes(gateway.log)[-1]
        assert await all_name("tiny")
        write(gateway, renamed(settings, "tiny"))
        before = children(gateway.process.pid)
        os.kill(before[0], signal.SIGKILL)

        async def born() -> float:
            return len(set(children(gateway.process.pid)) - set(before))

        assert await eventually(born, 1, within_s=WITHIN_S)
        await asyncio.sleep(3)  # until it takes requests
        assert await all_name("tiny")
