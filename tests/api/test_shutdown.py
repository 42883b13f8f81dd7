"""SIGTERM: what runs may end, nothing new is taken, and the exit is clean."""

import asyncio
import socket
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.api.conftest import Workers, base_settings
from tests.gateway_process import served
from tests.openai_wire import read_events

pytestmark = pytest.mark.asyncio(loop_scope="session")

BODY = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "stream": True}


def refused(url: str) -> bool:
    """Say whether nobody listens at an address."""
    parts = urlsplit(url)
    with socket.socket() as probe:
        return probe.connect_ex((parts.hostname, parts.port)) != 0


async def test_a_running_stream_ends_and_new_connections_are_refused(
    workers: Workers, http: httpx.AsyncClient, tmp_path: Path
):
    await workers.small.script(tokens=60, tokens_per_second=60)
    with served(tmp_path, base_settings(workers)) as gateway:
        asking = asyncio.create_task(
            http.post(f"{gateway.url}/v1/chat/completions", json=BODY, timeout=10)
        )
        await asyncio.sleep(0.3)
        gateway.terminate()
        await asyncio.sleep(0.4)
        assert refused(gateway.url)
        assert not asking.done()
        events = read_events((await asking).text)
        assert len(events.text.split()) == 60
        assert events.done
        assert await asyncio.to_thread(gateway.process.wait, 5) == 0
    log = gateway.log.read_text()
    assert "Traceback" not in log
    assert '"result": "ok"' in log


async def test_a_stream_that_outlives_the_drain_is_cut(
    workers: Workers, http: httpx.AsyncClient, tmp_path: Path
):
    await workers.small.script(tokens=5000, tokens_per_second=50)
    settings = base_settings(workers, server={"drain_s": 0.5})
    with served(tmp_path, settings) as gateway:
        asking = asyncio.create_task(
            http.post(f"{gateway.url}/v1/chat/completions", json=BODY, timeout=10)
        )
        await asyncio.sleep(0.3)
        gateway.terminate()
        assert await asyncio.to_thread(gateway.process.wait, 5) == 0
        await asyncio.wait([asking])
    assert '"result": "cancelled"' in gateway.log.read_text()
