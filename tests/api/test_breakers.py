"""What clients see of workers that are left alone because they keep failing."""

import time
from typing import Any

import pytest

from tests.api.conftest import Client, Serve, Workers, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

FAILING: dict[str, Any] = {"kind": "status", "status": 500}
BREAKER: dict[str, Any] = {"failures": 3, "open_s": 20}


async def broken(gateway: Client, workers: Workers, *tiers: str) -> None:
    """Let the workers of tiers fail until their breakers are open."""
    for tier in tiers:
        await getattr(workers, tier).script(failure=FAILING)
        for _ in range(3):
            assert (await gateway.chat(model=tier)).status_code == 502
        assert await gateway.sample("entroute_worker_breaker_state", tier=tier) == 2
        await getattr(workers, tier).forget()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_pinned_tier_whose_workers_keep_failing_is_refused_at_once(
    serve: Serve,
    workers: Workers,
    stream: bool,  # noqa: FBT001
) -> None:
    gateway = await serve(breaker=BREAKER)
    await broken(gateway, workers, "small")
    await workers.small.script(failure={"kind": "hang"})  # asking it would take for ever
    began = time.monotonic()
    response = await gateway.chat(model="small", stream=stream)
    assert time.monotonic() - began < 5
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "tier_unavailable"
    assert 10 <= int(response.headers["retry-after"]) <= 20  # when its breaker half-opens
    assert response.headers["x-should-retry"] == "true"
    assert await workers.bodies("small") == []
    assert await gateway.sample("entroute_breaker_opened_total", tier="small") == 1
    assert await gateway.sample("entroute_worker_up", tier="small") == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_auto_goes_to_the_other_tier_and_says_so(
    serve: Serve,
    workers: Workers,
    stream: bool,  # noqa: FBT001
) -> None:
    gateway = await serve(breaker=BREAKER)
    await broken(gateway, workers, "small")
    response = await gateway.chat(model="auto", stream=stream)
    assert response.status_code == 200
    assert response.headers["x-entroute-tier"] == "large"
    assert response.headers["x-entroute-degraded"] == "tier:small"
    assert await workers.bodies("small") == []


async def test_with_every_tier_left_alone_auto_is_refused_with_a_time_to_come_back(
    serve: Serve, workers: Workers
) -> None:
    gateway = await serve(breaker=BREAKER)
    await broken(gateway, workers, "small", "large")
    response = await gateway.chat(model="auto")
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1
    assert await workers.bodies("small") == await workers.bodies("large") == []


async def test_a_worker_that_answers_again_is_taken_back_and_warms_up(
    serve: Serve, workers: Workers
) -> None:
    gateway = await serve(breaker={**BREAKER, "open_s": 0.3}, slow_start_s=600)
    await broken(gateway, workers, "small")
    await workers.small.script(failure=None)
    assert await eventually(
        lambda: gateway.sample("entroute_worker_breaker_state", tier="small"), 1, within_s=10
    )
    assert await gateway.sample("entroute_worker_weight", tier="small") == 1
    assert (await gateway.chat(model="small")).status_code == 200
    assert await gateway.sample("entroute_worker_breaker_state", tier="small") == 0
    assert 0.1 <= await gateway.sample("entroute_worker_weight", tier="small") < 0.5
    for _ in range(5):  # warming up slows nobody down where there is one worker
        assert (await gateway.chat(model="small")).status_code == 200


async def test_requests_that_a_worker_finds_wrong_open_nothing(
    serve: Serve, workers: Workers
) -> None:
    gateway = await serve(breaker=BREAKER)
    await workers.small.script(failure={"kind": "status", "status": 422})
    for _ in range(10):
        assert (await gateway.chat(model="small")).status_code == 400
    await workers.small.script(failure={"kind": "status", "status": 429, "retry_after_s": 3})
    for _ in range(10):
        assert (await gateway.chat(model="small")).status_code == 503
    assert await gateway.sample("entroute_breaker_opened_total", tier="small") == 0
    await workers.small.script(failure=None)
    assert (await gateway.chat(model="small")).status_code == 200


async def test_streams_that_break_off_open_a_breaker(serve: Serve, workers: Workers) -> None:
    gateway = await serve(breaker=BREAKER)
    await workers.small.script(failure={"kind": "truncated", "after_tokens": 3})
    for _ in range(20):
        if await gateway.sample("entroute_worker_breaker_state", tier="small") == 2:
            break
        await gateway.chat(model="small", stream=True)
    assert await gateway.sample("entroute_breaker_opened_total", tier="small") == 1
    assert (await gateway.chat(model="small", stream=True)).status_code == 503
