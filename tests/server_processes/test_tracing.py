"""Several processes trace as one gateway: each sends its own, and all of it is counted."""

import asyncio

import pytest

from tests.collector import collecting
from tests.server_processes.conftest import Serve, until, until_counted

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_every_process_sends_its_spans_under_an_instance_of_its_own(serve: Serve) -> None:
    with collecting() as collector:
        gateway = await serve(tracing={"endpoint": collector.url})
        rounds = 0
        while len(gateway.answered_by()) < 2:
            rounds += 1
            assert rounds < 20
            asking = (gateway.client.chat(f"Hi {n}") for n in range(20))
            assert {answer.status_code for answer in await asyncio.gather(*asking)} == {200}
        spans = 2 * 20 * rounds
        await until(lambda: len(collector.spans) == spans)
        await until_counted(gateway, spans, "entroute_spans_total", result="exported")
        instances = {span.resource["service.instance.id"] for span in collector.spans}
        pids = {span.resource["process.pid"] for span in collector.spans}
        assert len(instances) == 2
        assert pids == set(gateway.pids)
        # A last one is not waited for: it comes with the end of its process.
        await gateway.client.answer("The last")
        gateway.served.terminate()
        assert await asyncio.to_thread(gateway.served.process.wait, 60) == 0
        assert len(collector.spans) == spans + 2
