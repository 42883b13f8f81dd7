"""A gateway is replaced behind a load balancer: no stream is lost, no request is refused."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from tests.api.conftest import Workers, base_settings
from tests.api.front import front_of
from tests.api.test_shutdown import LATE_S, asked, busy, patient, requests_in, texts
from tests.gateway_process import both_served
from tests.openai_wire import CheckedTransport

pytestmark = pytest.mark.asyncio(loop_scope="session")

STREAMS = 30
WORDS = 60


async def test_a_new_gateway_takes_over_and_every_stream_is_whole(workers: Workers, tmp_path: Path):
    await workers.small.script(tokens=WORDS, tokens_per_second=10)
    settings = base_settings(workers, server={"drain_delay_s": 4.0})
    async with AsyncExitStack() as stack, patient() as http, forgetful() as others:
        old, new = await both_served(stack, tmp_path, settings)
        front = await stack.enter_async_context(front_of([old.url, new.url], http))
        url = f"{front.url}/v1/chat/completions"
        asking = (http.post(url, json=asked(f"stream {n}")) for n in range(STREAMS))
        running = [asyncio.create_task(one) for one in asking]
        assert await busy(workers, STREAMS)
        assert front.taken == {old.url: STREAMS}

        await workers.small.script(tokens=3, tokens_per_second=1000)
        old.terminate()
        meanwhile = []
        while front.taken.get(new.url, 0) < 3:
            meanwhile.append(await others.post(url, json=asked("meanwhile", stream=False)))
        assert not all(task.done() for task in running)

        answers = texts(await asyncio.gather(*running))
        assert answers == [" ".join(f"word{n}" for n in range(WORDS))] * STREAMS
        assert texts(meanwhile) == ["word0 word1 word2"] * len(meanwhile)
        assert await asyncio.to_thread(old.process.wait, LATE_S) == 0
        assert [line["result"] for line in requests_in(old.log)].count("ok") >= STREAMS
        assert len(requests_in(new.log)) == front.taken[new.url] == 3
        for gateway in (old, new):
            assert "Traceback" not in gateway.log.read_text()


def forgetful() -> httpx.AsyncClient:
    """Return a client that opens a connection for every request, as new clients do."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx.AsyncClient(transport=CheckedTransport(limits=limits), timeout=LATE_S)
