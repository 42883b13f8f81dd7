"""A gateway and its fake workers behind a thread, for fuzzers that are not asynchronous."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from hypothesis import HealthCheck, settings

from loadtest.spawn import FakeWorker, fake_worker
from tests.gateway_process import merged, serving, two_tiers
from tests.keys import write_key_file

T = TypeVar("T")

KEY = "fuzz-key-of-somebody"
WIDER = int(os.environ.get("ENTROUTE_FUZZ", "1"))
"""How many times as many examples as the suite's own are tried; above 1, others every time."""

TIMEOUT_S = 20.0
"""Seconds within which anything must be answered; far more than it takes."""


def examples(count: int) -> settings:
    """Return how long one property is searched: so many examples, the same ones in the suite."""
    return settings(
        max_examples=count * WIDER,
        derandomize=WIDER == 1,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """A gateway to be fuzzed.

    Attributes:
        url: Its address, no path.
        workers: Its chat workers, then one that embeds.
        http: A client with kept connections.
        run: Runs a coroutine on the gateway's event loop and returns its result.
    """

    url: str
    workers: tuple[FakeWorker, ...]
    http: httpx.Client
    run: Callable[[Coroutine[Any, Any, Any]], Any]

    def bodies(self) -> list[dict[str, Any]]:
        """Return what the workers were sent since they were last asked."""
        return [each["body"] for worker in self.workers for each in self._taken(worker)]

    def _taken(self, worker: FakeWorker) -> list[dict[str, Any]]:
        url = f"{worker.url}/fake/requests"
        received: list[dict[str, Any]] = self.http.get(url).json()["requests"]
        if received:
            self.http.delete(url)
        return received


@contextmanager
def in_thread(context: AbstractAsyncContextManager[T]) -> Iterator[tuple[T, Any]]:
    """Enter a context on an event loop in a thread; yield what it gives and what runs things."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(60)

    try:
        entered = run(context.__aenter__())
        try:
            yield entered, run
        finally:
            run(context.__aexit__(None, None, None))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@asynccontextmanager
async def _served(
    changes: dict[str, Any],
) -> AsyncIterator[tuple[str, tuple[FakeWorker, ...]]]:
    async with (
        fake_worker(model="qwen-small") as small,
        fake_worker(model="qwen-large") as large,
        fake_worker(model="minilm") as embedder,
    ):
        embedding = {"url": f"{embedder.url}/v1"}
        own = {"embeddings": [{"name": "minilm", "model": "minilm", "workers": [embedding]}]}
        base = {**two_tiers(small.url, large.url), **own}
        async with serving(merged(base, changes)) as url:
            yield url, (small, large, embedder)


@contextmanager
def fuzzed(**changes: Any) -> Iterator[Fuzzed]:
    """Serve a gateway before three fake workers."""
    with (
        in_thread(_served(changes)) as ((url, workers), run),
        httpx.Client(timeout=TIMEOUT_S) as http,
    ):
        yield Fuzzed(url, workers, http, run)


@pytest.fixture(scope="session")
def open_gateway() -> Iterator[Fuzzed]:
    """A gateway that asks for no keys."""
    with fuzzed() as gateway:
        yield gateway


@pytest.fixture(scope="session")
def keyed_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    """A gateway that asks for `KEY`."""
    folder: Path = tmp_path_factory.mktemp("fuzz")
    keys = write_key_file(folder / "keys.yaml", {KEY: {"tenant": "acme", "admin": True}})
    with fuzzed(auth={"keys_file": str(keys)}) as gateway:
        yield gateway
