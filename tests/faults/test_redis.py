"""Redis down or slow: a miss within its budget, counted, probed again; never a 500."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.fault_sites import Site, site, until
from tests.redis_server import RedisServer, redis_server

SLOW_S = 5.0
"""Many times the budget of every operation, on a busy machine too."""


def shared(server: RedisServer) -> dict[str, Any]:
    # Ten times the default's budget, for a machine on which everything takes ten times longer.
    return {"cache": {"kind": "redis", "url": server.url, "timeout_ms": 500}}


async def told(there: Site) -> str:
    """Ask the same again; return what the cache said."""
    answer = await there.ask("small", temperature=0)
    assert answer.status_code == 200, answer.text
    return str(answer.headers["x-entroute-cache"])


@pytest.mark.parametrize("fault", ["killed", "hung"])
async def test_a_miss_within_its_budget_and_found_again(tmp_path: Path, fault: str) -> None:
    with redis_server() as server:
        async with site(tmp_path, changes=shared(server)) as there:
            assert [await told(there), await told(there)] == ["miss", "exact"]
            (server.kill if fault == "killed" else server.pause)()
            started = time.monotonic()
            answer = await there.ask("small", temperature=0)
            assert answer.status_code == 200
            assert answer.headers["x-entroute-cache"] == "miss"
            assert answer.headers["x-entroute-degraded"] == "cache"
            assert time.monotonic() - started < SLOW_S
            assert await there.metric("entroute_degraded_total", part="cache") >= 1
            assert await there.metric("entroute_cache_lookups_total", result="error") >= 1
            (server.start if fault == "killed" else server.resume)()

            async def hit() -> bool:
                return await told(there) == "exact"

            await until(hit)
            assert await there.metric("entroute_requests_total", outcome="server_error") == 0
    assert "Traceback" not in there.gateway.log.read_text()


async def test_a_gateway_starts_without_its_redis(tmp_path: Path) -> None:
    with redis_server() as server:
        server.kill()
        async with site(tmp_path, changes=shared(server)) as there:
            assert await told(there) == "miss"
            server.start()

            async def hit() -> bool:
                return await told(there) == "exact"

            await until(hit)


async def test_a_degraded_answer_is_not_kept(tmp_path: Path) -> None:
    with redis_server() as server:
        async with site(tmp_path, changes=shared(server)) as there:
            for worker in there.workers("small"):
                await worker.kill()
            await there.until_up("small", 0)
            for _ in range(2):
                answer = await there.ask("auto", temperature=0)
                assert answer.headers["x-entroute-degraded"] == "tier:small"
                assert answer.headers["x-entroute-cache"] == "miss"
