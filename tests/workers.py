"""Real fake workers, two processes for the whole run, and clients of them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from entroute.backends.http_worker import Timeouts
from entroute.backends.worker import Worker
from entroute.protocols import Backend
from entroute.types import Call, Completion
from loadtest.spawn import FakeWorker, fake_worker
from tests.builders import a_call, read

MODEL = "small"
CONTEXT = 512
UNSCRIPTED: dict[str, Any] = {
    "ttft_ms": 0,
    "tokens_per_second": 0,
    "tokens": 16,
    "certainty": "confident",
    "answers": [],
    "rules": [],
    "failure": None,
    "healthy": True,
    "vectors": {},
}

Connect = Callable[..., Worker]
"""Makes a client of a worker, given its URL and facts of `Worker`."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def worker_processes() -> AsyncIterator[tuple[FakeWorker, FakeWorker]]:
    """Run two fake workers for all tests."""
    flags = {"model": MODEL, "max_model_len": CONTEXT}
    async with fake_worker(**flags) as one, fake_worker(**flags) as other:
        yield one, other


@pytest_asyncio.fixture
async def two_workers(
    worker_processes: tuple[FakeWorker, FakeWorker],
) -> tuple[FakeWorker, FakeWorker]:
    """Return both workers as if they were just started."""
    for worker in worker_processes:
        await worker.script(**UNSCRIPTED)
        await worker.forget()
    return worker_processes


@pytest_asyncio.fixture
async def worker(two_workers: tuple[FakeWorker, FakeWorker]) -> FakeWorker:
    """Return one worker as if it was just started."""
    return two_workers[0]


@pytest_asyncio.fixture
async def connect() -> AsyncIterator[Connect]:
    """Give what makes clients over one connection pool, as the application has it."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=0.3)
    async with aiohttp.ClientSession(timeout=timeout) as session:

        def make(url: str, *, timeouts: Timeouts | None = None, **facts: str) -> Worker:
            return Worker(
                f"{url}/v1",
                model=facts.get("model", MODEL),
                tier=facts.get("tier", "small"),
                session=session,
                clock=time.perf_counter,
                timeouts=timeouts or Timeouts(connect_s=0.3, total_s=10),
                api_key=facts.get("api_key"),
            )

        yield make


async def running(worker: FakeWorker, value: int) -> None:
    """Wait until the worker's running gauge has a value, two seconds at most."""
    async with asyncio.timeout(2):
        while (await worker.metrics())["vllm:num_requests_running"] != value:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def generated(worker: FakeWorker) -> float:
    """Return how many tokens the worker has made since it was started."""
    return (await worker.metrics())["vllm:generation_tokens_total"]


def call_by(deadline_s: float = 10, **facts: Any) -> Call:
    """Return a call that has some seconds."""
    return a_call(facts.pop("request", None), deadline=time.perf_counter() + deadline_s, **facts)


async def ask(backend: Backend, call: Call, *, stream: bool) -> Completion:
    """Ask in one of the two ways."""
    if not stream:
        return await backend.complete(call)
    _, completion = await read(backend.stream(call))
    return completion


both = pytest.mark.parametrize("stream", [True, False])
"""For tests of a whole answer and of its stream."""
