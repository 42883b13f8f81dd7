"""The load generator counts what really came back."""

import orjson
import pytest

from loadtest.client import Target, percentile, run_load
from loadtest.spawn import FakeWorker


def target(worker: FakeWorker, **more) -> Target:
    message = {"role": "user", "content": "Hi"}
    body = orjson.dumps({"model": "small", "messages": [message], "max_tokens": 4, **more})
    return Target(f"{worker.url}/v1/chat/completions", lambda _: body)


async def test_a_closed_loop_sends_exactly_the_requests_asked(worker: FakeWorker):
    load = await run_load(target(worker), 4, requests=50)
    assert len(load.latencies) == 50
    assert load.errors == {}
    assert len(await worker.requests()) == 50


async def test_first_bytes_of_streams_come_before_their_ends(worker: FakeWorker):
    await worker.script(tokens_per_second=20)
    load = await run_load(target(worker, stream=True), 2, requests=4)
    assert load.events == 4 * 7  # role, four tokens, the end, [DONE]
    for first, whole in zip(load.ttfts, load.latencies, strict=True):
        assert whole - first > 0.02


async def test_failures_are_counted_and_not_timed(worker: FakeWorker):
    await worker.script(failure={"kind": "status", "status": 503, "times": 3})
    load = await run_load(target(worker), 1, requests=5)
    assert load.errors == {"status 503": 3}
    assert len(load.latencies) == 2


async def test_a_lost_connection_is_an_error(worker: FakeWorker):
    await worker.script(failure={"kind": "reset", "after_tokens": 1})
    load = await run_load(target(worker), 1, requests=5)
    assert sum(load.errors.values()) == 1
    assert "connection lost" in next(iter(load.errors))


async def test_time_ends_a_run(worker: FakeWorker):
    load = await run_load(target(worker), 2, seconds=0.2)
    assert 0.2 <= load.seconds < 1
    assert load.rate == pytest.approx(len(load.latencies) / load.seconds)


def test_percentiles_interpolate():
    values = [4.0, 1.0, 3.0, 2.0]
    assert percentile(values, 0) == 1
    assert percentile(values, 0.5) == 2.5
    assert percentile(values, 1) == 4
    with pytest.raises(ValueError, match="at least one"):
        percentile([], 0.5)
