"""Gateways of several processes as the command that operators run, on a real Redis."""

import asyncio
import json
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from tests.api.conftest import (
    Client,
    Workers,
    base_settings,
    client_of,
    fake_workers,
    http,
    workers,
)
from tests.gateway_process import Served, served
from tests.redis_server import RedisServer, redis_server

__all__ = ["fake_workers", "http", "workers"]

PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Gateway:
    """One gateway of several processes.

    Every request is made on a connection of its own, so that any process may answer it.
    """

    served: Served
    client: Client

    @property
    def config(self) -> Path:
        """Its configuration file."""
        return self.served.log.with_name("gateway.yaml")

    @property
    def pids(self) -> list[int]:
        """Its server processes that live."""
        pid = self.served.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(each) for each in children.split()]

    def lines(self, event: str = "request") -> list[dict[str, Any]]:
        """Return its log lines of one kind."""
        lines = self.served.log.read_text().splitlines()
        read = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in read if line["event"] == event]

    def answered_by(self) -> Counter[int]:
        """Return how many requests each process has logged."""
        return Counter(line["process"] for line in self.lines())

    async def page(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Return every sample of the metrics page."""
        answer = await self.client.get("/metrics")
        assert answer.status_code == 200, answer.text
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }

    async def sample(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that carry these labels."""
        return await self.client.sample(name, **labels)


Serve = Callable[..., Awaitable[Gateway]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def fresh() -> AsyncIterator[httpx.AsyncClient]:
    """Connections that are used once."""
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(limits=limits, timeout=90) as client:
        yield client


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def own_redis() -> AsyncIterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def serve(
    workers: Workers, own_redis: RedisServer, fresh: httpx.AsyncClient, tmp_path: Path
) -> AsyncIterator[Serve]:
    """Start gateways of two processes, or more, with changed settings."""
    with ExitStack() as stack:

        async def start(processes: int = 2, **changes: Any) -> Gateway:
            settings = several(workers, own_redis, processes, **changes)
            context = served(tmp_path, settings, within_s=PATIENCE_S)
            running = await asyncio.to_thread(stack.enter_context, context)
            return Gateway(running, client_of(running.url, fresh))

        yield start


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_gateway(
    fake_workers: Workers,
    own_redis: RedisServer,
    fresh: httpx.AsyncClient,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Gateway]:
    settings = several(fake_workers, own_redis, 2)
    context = served(tmp_path_factory.mktemp("shared"), settings, within_s=PATIENCE_S)
    with ExitStack() as stack:
        running = await asyncio.to_thread(stack.enter_context, context)
        yield Gateway(running, client_of(running.url, fresh))


@pytest_asyncio.fixture(loop_scope="session")
async def gateway(shared_gateway: Gateway, workers: Workers) -> Gateway:
    """The gateway of two processes that tests share; they must leave both alive."""
    return shared_gateway


def several(workers: Workers, redis: RedisServer, processes: int, **changes: Any) -> dict[str, Any]:
    """Return the settings of a gateway of several processes."""
    server = {"processes": processes, **changes.pop("server", {})}
    shared = {"url": redis.url, "timeout_ms": 2000}
    return base_settings(workers, server=server, redis=shared, **changes)


async def until(holds: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def until_counted(
    gateway: Gateway, wanted: float, name: str, within_s: float = PATIENCE_S, **labels: str
) -> None:
    """Wait until a metric has a value."""
    end = time.monotonic() + within_s
    while (seen := await gateway.sample(name, **labels)) != wanted:
        assert time.monotonic() < end, f"{name} is {seen}, not {wanted}"
        await asyncio.sleep(0.1)


def refused(url: str) -> bool:
    """Say whether nobody listens at an address."""
    parts = urlsplit(url)
    with socket.socket() as probe:
        return probe.connect_ex((parts.hostname, parts.port)) != 0
