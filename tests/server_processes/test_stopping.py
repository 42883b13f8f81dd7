"""Signals to the supervisor reach every process."""

import asyncio
import signal
import time

import pytest

from tests.api.conftest import Workers
from tests.server_processes.conftest import Serve, refused, until_counted

pytestmark = pytest.mark.asyncio(loop_scope="session")

IN_FLIGHT = "entroute_requests_in_flight"


async def test_every_process_drains_and_no_stream_is_lost(serve: Serve, workers: Workers):
    await workers.small.script(tokens=60, tokens_per_second=30)
    gateway = await serve(3)
    asks = [asyncio.create_task(gateway.client.events(f"Hi {n}")) for n in range(30)]
    await until_counted(gateway, 30, IN_FLIGHT)
    gateway.served.terminate()
    for events in await asyncio.gather(*asks):
        assert len(events.text.split()) == 60
        assert events.done
    assert await asyncio.to_thread(gateway.served.process.wait, 30) == 0
    assert refused(gateway.served.url)
    assert gateway.answered_by().total() == 30
    assert {line["result"] for line in gateway.lines()} == {"ok"}
    assert "Traceback" not in gateway.served.log.read_text()


async def test_a_second_ctrl_c_does_not_wait_for_streams(serve: Serve, workers: Workers):
    await workers.small.script(tokens=5000, tokens_per_second=10)
    gateway = await serve()
    asks = [asyncio.create_task(gateway.client.events(f"Hi {n}")) for n in range(10)]
    await until_counted(gateway, 10, IN_FLIGHT)
    gateway.served.process.send_signal(signal.SIGINT)
    await asyncio.sleep(1)
    assert gateway.served.process.poll() is None
    began = time.monotonic()
    gateway.served.process.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(gateway.served.process.wait, 20) == 0
    assert time.monotonic() - began < 15
    await asyncio.wait(asks)


async def test_a_stream_that_outlives_the_drain_is_cut(serve: Serve, workers: Workers):
    await workers.small.script(tokens=5000, tokens_per_second=10)
    gateway = await serve(server={"drain_s": 0.5})
    asks = [asyncio.create_task(gateway.client.events(f"Hi {n}")) for n in range(4)]
    await until_counted(gateway, 4, IN_FLIGHT)
    gateway.served.terminate()
    assert await asyncio.to_thread(gateway.served.process.wait, 20) == 0
    await asyncio.wait(asks)
