"""`GET /v1/usage`: what a key has used, equal to what the workers counted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import pytest_asyncio

from loadtest.worker_counters import Counted, read_counted
from tests.api.conftest import (
    OPEN,
    PROBED_HARD,
    Client,
    Workers,
    base_settings,
    client_of,
    eventually,
)
from tests.gateway_process import serving
from tests.keys import write_key_file
from tests.redis_server import RedisServer, redis_server

pytestmark = pytest.mark.asyncio(loop_scope="session")

KEYS: dict[str, dict[str, Any]] = {
    "asker": {
        "id": "a" * 12,
        "tenant": "one",
        "limits": {"requests_per_month": 1000, "cost_per_month_usd": 50.0},
    },
    "other": {"id": "b" * 12, "tenant": "two"},
    "admin": {"id": "c" * 12, "tenant": "ops", "admin": True},
}
MONTH = f"{datetime.now(UTC):%Y-%m}"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server() -> AsyncIterator[RedisServer]:
    with redis_server() as own:
        yield own


@pytest_asyncio.fixture(loop_scope="session")
async def pair(
    workers: Workers, http: httpx.AsyncClient, server: RedisServer, tmp_path: Path
) -> AsyncIterator[tuple[Client, Client]]:
    """Two gateways that share a Redis."""
    keys = write_key_file(tmp_path / "keys.yaml", KEYS)
    redis = {"url": server.url, "timeout_ms": 2000}
    settings = base_settings(workers, redis=redis, auth={"keys_file": str(keys)})
    async with AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(serving(settings)) for _ in range(2)]
        yield client_of(urls[0], http), client_of(urls[1], http)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def usage(client: Client, key: str, query: str = "") -> dict[str, Any]:
    response = await client.get(f"/v1/usage{query}", bearer(key))
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


async def counted(workers: Workers) -> Counted:
    async with aiohttp.ClientSession() as session:
        urls = (workers.small.url, workers.large.url)
        totals = [await read_counted(session, url) for url in urls]
    return totals[0] + totals[1]


async def test_a_keys_usage_is_what_the_workers_counted(
    pair: tuple[Client, Client], workers: Workers
):
    await workers.small.script(certainty=PROBED_HARD)
    before = await counted(workers)
    ways: list[dict[str, Any]] = [
        {"text": "Hi"},
        {"text": "Hi", "temperature": 0},
        {"text": "Hi", "temperature": 0},  # a cached answer, or a shared one
        {"text": OPEN, "model": "auto"},  # probed, and too hard for the small tier
        {"text": "How many?", "entroute": {"strategy": "self_consistency"}, "model": "auto"},
        {"text": "Hi", "model": "large", "stream": True},
        {"text": "Hi", "model": "nothing-like-it"},
    ]
    await asyncio.gather(
        *(pair[n % 2].chat(headers=bearer("asker"), **way) for n, way in enumerate(ways * 3))
    )
    spent = await counted(workers) - before

    async def prompt_tokens() -> float:
        told: float = (await usage(pair[0], "asker"))["totals"]["prompt_tokens"]
        return told

    assert await eventually(prompt_tokens, spent.prompt, within_s=10)
    body = await usage(pair[0], "asker", "?by=day")
    totals = body["totals"]
    assert totals["completion_tokens"] == spent.completion > 0
    assert totals["total_tokens"] == spent.prompt + spent.completion
    assert (totals["requests"], totals["errors"]) == (21, 3)
    assert totals["cache_hits"] > 0
    parts = [part for tier in body["tiers"].values() for part in tier.values()]
    for name in ("prompt_tokens", "completion_tokens", "calls", "cached_tokens"):
        assert sum(part[name] for part in parts) == totals[name]
        assert sum(day["totals"][name] for day in body["days"]) == totals[name]
    assert set(body["tiers"]) == {"small", "large"}
    assert {"answer", "sample", "probe"} <= {p for tier in body["tiers"].values() for p in tier}
    small, large = (
        [sum(part[kind] for part in body["tiers"][tier].values()) for kind in _TOKENS]
        for tier in ("small", "large")
    )
    cost = (small[0] + 2 * small[1] + 10 * large[0] + 20 * large[1]) / 1e6
    assert totals["cost_usd"] == pytest.approx(cost, rel=1e-12)
    limits = {limit["name"]: limit for limit in body["limits"]}
    assert limits["requests_per_month"]["used"] == 18  # those of no such model count not
    assert limits["requests_per_month"]["left"] == 982
    assert limits["cost_per_month_usd"]["used"] == pytest.approx(cost, abs=21e-6)
    assert 0 < limits["cost_per_month_usd"]["reset_s"] <= 31 * 86_400
    assert await usage(pair[1], "asker", "?by=day") == {**body, "limits": ANY}


_TOKENS = ("prompt_tokens", "completion_tokens")


class _Any:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


ANY = _Any()


async def test_a_key_that_has_not_asked_has_used_nothing(pair: tuple[Client, Client]):
    body = await usage(pair[0], "other")
    assert body["totals"]["requests"] == body["totals"]["cost_usd"] == 0
    assert (body["key"], body["tenant"], body["tiers"]) == ("b" * 12, "two", {})
    assert (body["window"]["month"], body["limits"]) == (MONTH, [])


async def test_an_admin_key_sees_others_and_others_do_not(pair: tuple[Client, Client]):
    await pair[0].chat(headers=bearer("asker"))
    body = await usage(pair[0], "admin", f"?key={'a' * 12}")
    assert (body["key"], body["tenant"]) == ("a" * 12, "one")
    assert body["totals"]["requests"] > 0
    assert {limit["name"] for limit in body["limits"]} == {
        "requests_per_month",
        "cost_per_month_usd",
    }
    own = await usage(pair[0], "asker", f"?key={'a' * 12}")
    assert own["totals"] == body["totals"]
    refused = await pair[0].get(f"/v1/usage?key={'a' * 12}", bearer("other"))
    assert refused.status_code == 403
    assert refused.json()["error"]["param"] == "key"
    # a key that is not there reads the same for who may not look
    unknown = await pair[0].get("/v1/usage?key=dddddddddddd", bearer("other"))
    assert unknown.json() == refused.json()
    assert (await pair[0].get("/v1/usage?key=dddddddddddd", bearer("admin"))).status_code == 404


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("month=2026-13", "month"),
        ("month=last", "month"),
        ("month=2026-11%0A", "month"),
        ("by=hour", "by"),
        ("key=../admin", "key"),
        ("since=yesterday", "since"),
    ],
)
async def test_a_wrong_parameter_is_refused_by_name(
    pair: tuple[Client, Client], query: str, name: str
):
    response = await pair[0].get(f"/v1/usage?{query}", bearer("asker"))
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == name
    assert name in error["message"]


async def test_another_month_is_told_without_limits(pair: tuple[Client, Client]):
    body = await usage(pair[0], "asker", "?month=2025-01")
    assert body["totals"]["requests"] == 0
    assert body["window"] == {
        "month": "2025-01",
        "from": "2025-01-01T00:00:00Z",
        "to": "2025-02-01T00:00:00Z",
    }
    assert "limits" not in body


async def test_a_stranger_is_told_nothing(pair: tuple[Client, Client]):
    assert (await pair[0].get("/v1/usage")).status_code == 401
    assert (await pair[0].get("/v1/usage", bearer("nobody"))).status_code == 401


async def test_without_keys_the_anonymous_use_is_told(gateway: Client):
    await gateway.chat()
    response = await gateway.get("/v1/usage")
    assert response.status_code == 200
    body = response.json()
    assert (body["key"], body["tenant"]) == ("", "anonymous")
    assert body["totals"]["requests"] > 0


async def test_while_the_books_are_away_a_retry_is_asked_for(
    workers: Workers, http: httpx.AsyncClient, tmp_path: Path
):
    keys = write_key_file(tmp_path / "keys.yaml", KEYS)
    with redis_server() as server:
        redis = {"url": server.url, "timeout_ms": 200}
        settings = base_settings(workers, redis=redis, auth={"keys_file": str(keys)})
        async with serving(settings) as url:
            client = client_of(url, http)
            server.pause()
            response = await client.get("/v1/usage", bearer("asker"))
            server.resume()
            assert response.status_code == 503
            assert int(response.headers["retry-after"]) >= 1
