"""What lies in the store under our keys: other releases, garbage, too much, other tenants'."""

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from redis.asyncio import Redis

from entroute.cache.codec import SCHEMA_VERSION
from tests.api.conftest import Client, Serve, Workers
from tests.redis_server import RedisServer, redis_server

pytestmark = pytest.mark.asyncio(loop_scope="session")

DISCARDED = "entroute_cache_discarded_total"


@pytest.fixture
def prompt() -> str:
    """A prompt that no other test has asked."""
    return f"How many legs has spider {uuid4().hex}?"


async def cached(gateway: Client, prompt: str, **fields: Any) -> str:
    response = await gateway.chat(prompt, **{"temperature": 0, **fields})
    assert response.status_code == 200, response.text
    assert "x-entroute-degraded" not in response.headers
    return response.headers["x-entroute-cache"]


async def another_version(redis: Redis, key: Any) -> None:
    await redis.setrange(key, 2, bytes([SCHEMA_VERSION + 1]).decode())


async def garbage(redis: Redis, key: Any) -> None:
    await redis.set(key, b"\x00\xffnonsense" * 100, ex=60)


async def a_changed_byte(redis: Redis, key: Any) -> None:
    await redis.setrange(key, 20, "\x00")


async def nothing_in_it(redis: Redis, key: Any) -> None:
    await redis.set(key, b"", ex=60)


async def another_kind(redis: Redis, key: Any) -> None:
    await redis.delete(key)
    await redis.rpush(key, "x")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (another_version, "version"),
        (garbage, "damaged"),
        (a_changed_byte, "damaged"),
        (nothing_in_it, "damaged"),
        (another_kind, "wrong_type"),
    ],
)
async def test_an_entry_that_cannot_be_read_is_a_counted_miss_and_is_replaced(
    serve: Serve, prompt: str, spoil: Callable[[Redis, Any], Awaitable[None]], reason: str
):
    with redis_server() as server:
        gateway = await serve(cache={"kind": "redis", "url": server.url, "timeout_ms": 2000})
        assert await cached(gateway, prompt) == "miss"
        async with Redis.from_url(server.url) as redis:
            (key,) = await redis.keys("entroute:answer:*")
            assert len(key) == len("entroute:answer:") + 64
            await spoil(redis, key)
        assert await cached(gateway, prompt) == "miss"
        assert await gateway.sample(DISCARDED, reason=reason) == 1
        assert await cached(gateway, prompt) == "exact"


@pytest.mark.parametrize("kind", ["memory", "redis"])
async def test_an_answer_above_the_bound_is_not_kept_and_counted(
    serve: Serve, redis: RedisServer, prompt: str, kind: str
):
    place = {"kind": "redis", "url": redis.url, "timeout_ms": 2000} if kind == "redis" else {}
    gateway = await serve(cache={**place, "max_entry_bytes": 100})
    for _ in range(2):
        assert await cached(gateway, prompt) == "miss"
    assert await gateway.sample(DISCARDED, reason="too_large") == 2


async def test_everything_we_put_into_redis_has_an_end_and_says_nothing(serve: Serve, prompt: str):
    with redis_server() as server:
        gateway = await serve(cache={"kind": "redis", "url": server.url, "timeout_ms": 2000})
        await cached(gateway, prompt, entroute={"cache_tags": ["secret-tag"]})
        async with Redis.from_url(server.url) as redis:
            keys = [key.decode() async for key in redis.scan_iter()]
            assert {key.split(":")[0] for key in keys} == {"entroute"}
            assert {"answer", "tag"} <= {key.split(":")[1] for key in keys}
            assert not any("secret" in key or "spider" in key or "anonym" in key for key in keys)
            assert all([await redis.ttl(key) > 0 for key in keys])


async def test_sampled_answers_are_kept_where_the_operator_says_so(
    serve: Serve, workers: Workers, prompt: str
):
    gateway = await serve(cache={"sampled": True})
    assert await cached(gateway, prompt, temperature=1.0) == "miss"
    assert await cached(gateway, prompt, temperature=1.0) == "exact"
    assert await cached(gateway, prompt, temperature=None) == "miss"  # another request
    bypass = {"cache": "bypass"}
    assert await cached(gateway, prompt, temperature=1.0, entroute=bypass) == "bypass"


async def test_tenants_share_answers_where_the_operator_says_so_if_their_rights_are_equal(
    serve: Serve, tmp_path: Path, prompt: str
):
    keys = tmp_path / "keys.yaml"
    entries: list[dict[str, Any]] = [
        {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "tenant": tenant}
        for name, tenant in (("one", "a"), ("two", "b"), ("three", "c"))
    ]
    entries[2]["tiers"] = ["small"]
    keys.write_text(yaml.safe_dump({"keys": entries}))
    gateway = await serve(auth={"keys_file": str(keys)}, cache={"across_tenants": True})
    seen = [
        await cached(gateway, prompt, headers={"authorization": f"Bearer {key}"})
        for key in ("one", "two", "three")
    ]
    assert seen == ["miss", "exact", "miss"]
