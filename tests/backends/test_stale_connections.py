"""A kept connection that its worker has closed meanwhile is no failure of the worker."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from entroute.backends.http_worker import Timeouts
from entroute.backends.worker import Worker
from entroute.errors import WorkerUnavailable
from loadtest.spawn import FakeWorker
from tests.workers import MODEL, ask, both, call_by


class Closing:
    """Closes kept connections between the moment they are taken up again and the first byte.

    Attributes:
        left: How many more.
    """

    def __init__(self) -> None:
        self.left = 0

    def tracing(self) -> aiohttp.TraceConfig:
        """Return what has a session tell of every connection that it uses again."""
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(self._reused)
        return trace

    async def _reused(self, session: aiohttp.ClientSession, *_: Any) -> None:
        if self.left == 0 or session.connector is None:
            return
        self.left -= 1
        for protocol in session.connector._acquired:
            if protocol.transport is not None:
                # Within the next turn of the loop: after the call was begun, before it is written.
                asyncio.get_running_loop().call_soon(protocol.transport.close)


@pytest.fixture
def closing() -> Closing:
    return Closing()


@pytest_asyncio.fixture
async def client(worker: FakeWorker, closing: Closing) -> AsyncIterator[Worker]:
    async with aiohttp.ClientSession(trace_configs=[closing.tracing()]) as session:
        yield Worker(
            f"{worker.url}/v1",
            model=MODEL,
            tier="small",
            session=session,
            clock=time.perf_counter,
            timeouts=Timeouts(connect_s=2, total_s=10),
        )


@both
async def test_a_call_over_a_closing_connection_is_sent_again_once(
    worker: FakeWorker,
    client: Worker,
    closing: Closing,
    stream: bool,  # noqa: FBT001
) -> None:
    await ask(client, call_by(), stream=stream)
    closing.left = 1
    completion = await ask(client, call_by(), stream=stream)
    assert closing.left == 0
    assert completion.usage.calls == 1
    assert len(await worker.requests()) == 2


async def test_a_second_failure_is_the_workers(
    worker: FakeWorker, client: Worker, closing: Closing
) -> None:
    await client.complete(call_by())
    await worker.script(failure={"kind": "refuse"})
    closing.left = 1
    with pytest.raises(WorkerUnavailable):
        await client.complete(call_by())
    assert closing.left == 0
    assert len(await worker.requests()) == 2


@both
async def test_a_worker_that_resets_what_it_was_sent_is_not_asked_again(
    worker: FakeWorker,
    client: Worker,
    stream: bool,  # noqa: FBT001
) -> None:
    await worker.script(failure={"kind": "refuse"})
    with pytest.raises(WorkerUnavailable):
        await ask(client, call_by(), stream=stream)
    assert len(await worker.requests()) == 1
