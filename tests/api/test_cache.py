"""What is answered from the cache, what is not, and what a cache that is gone costs."""

import hashlib
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import yaml

from tests.api.conftest import Client, Serve, Workers
from tests.redis_server import RedisServer, redis_server

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def prompt() -> str:
    """A prompt that no other test has asked."""
    return f"How many legs has spider {uuid4().hex}?"


async def test_the_same_greedy_request_is_answered_once(
    gateway: Client, workers: Workers, prompt: str
):
    first = await gateway.chat(prompt, temperature=0)
    second = await gateway.chat(prompt, temperature=0)
    assert first.headers["x-entroute-cache"] == "miss"
    assert second.headers["x-entroute-cache"] == "exact"
    assert second.headers["x-entroute-calls"] == "0"
    assert second.json()["choices"] == first.json()["choices"]
    assert second.json()["id"] != first.json()["id"]
    assert len(await workers.bodies()) == 1


async def test_a_hit_spends_nothing_and_describes_the_answer(gateway: Client, prompt: str):
    first = (await gateway.answer(prompt, temperature=0))["usage"]
    second = (await gateway.answer(prompt, temperature=0))["usage"]
    spent = second.pop("entroute")
    first.pop("entroute")
    assert second == first
    assert spent.pop("by") == []
    assert set(spent.values()) == {0}


async def test_a_hit_is_counted(gateway: Client, prompt: str):
    before = await gateway.sample("entroute_cache_lookups_total", kind="exact", result="hit")
    usage = (await gateway.answer(prompt, temperature=0))["usage"]
    saved = await gateway.sample("entroute_tokens_saved_total", reason="cache")
    await gateway.answer(prompt, temperature=0)
    assert await gateway.sample("entroute_cache_lookups_total", result="hit") == before + 1
    now = await gateway.sample("entroute_tokens_saved_total", reason="cache")
    assert now - saved == usage["total_tokens"]


async def test_a_seeded_request_is_cached_too(gateway: Client, prompt: str):
    await gateway.chat(prompt, temperature=1, seed=3)
    assert (await gateway.chat(prompt, temperature=1, seed=3)).headers[
        "x-entroute-cache"
    ] == "exact"


@pytest.mark.parametrize("temperature", [None, 0.7])
async def test_a_sampled_request_is_not_cached(
    gateway: Client, workers: Workers, prompt: str, temperature: float | None
):
    for _ in range(2):
        response = await gateway.chat(prompt, temperature=temperature)
        assert response.headers["x-entroute-cache"] == "bypass"
    assert len(await workers.bodies()) == 2


async def test_a_hit_streams_what_was_not_streamed(gateway: Client, workers: Workers, prompt: str):
    whole = await gateway.answer(prompt, temperature=0)
    events = await gateway.events(prompt, temperature=0)
    assert events.text == whole["choices"][0]["message"]["content"]
    assert events.chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert events.chunks[-1]["entroute"]["cache"] == "exact"
    assert events.done
    assert len(await workers.bodies()) == 1


async def test_a_stream_fills_the_cache(gateway: Client, workers: Workers, prompt: str):
    events = await gateway.events(prompt, temperature=0)
    response = await gateway.chat(prompt, temperature=0)
    assert response.headers["x-entroute-cache"] == "exact"
    assert response.json()["choices"][0]["message"]["content"] == events.text
    assert len(await workers.bodies()) == 1


async def test_a_hit_of_an_answer_with_log_probabilities_has_them(gateway: Client, prompt: str):
    fields: dict[str, Any] = {"temperature": 0, "logprobs": True, "top_logprobs": 2}
    first = await gateway.answer(prompt, **fields)
    second = await gateway.answer(prompt, **fields)
    assert second["choices"] == first["choices"]
    assert (await gateway.chat(prompt, temperature=0)).headers["x-entroute-cache"] == "miss"


async def test_bypass_neither_reads_nor_writes(gateway: Client, prompt: str):
    bypass: dict[str, Any] = {"entroute": {"cache": "bypass"}, "temperature": 0}
    assert (await gateway.chat(prompt, **bypass)).headers["x-entroute-cache"] == "bypass"
    assert (await gateway.chat(prompt, temperature=0)).headers["x-entroute-cache"] == "miss"
    assert (await gateway.chat(prompt, **bypass)).headers["x-entroute-cache"] == "bypass"


async def test_refresh_answers_anew_and_replaces(gateway: Client, workers: Workers, prompt: str):
    await workers.small.script(answer="old")
    await gateway.answer(prompt, temperature=0)
    await workers.small.script(answer="new")
    refreshed = await gateway.chat(prompt, temperature=0, entroute={"cache": "refresh"})
    assert refreshed.headers["x-entroute-cache"] == "miss"
    again = await gateway.chat(prompt, temperature=0)
    assert again.headers["x-entroute-cache"] == "exact"
    assert again.json()["choices"][0]["message"]["content"] == "new"


async def test_force_caches_what_is_sampled(gateway: Client, workers: Workers, prompt: str):
    force: dict[str, Any] = {"entroute": {"cache": "force"}, "temperature": 1.0}
    assert (await gateway.chat(prompt, **force)).headers["x-entroute-cache"] == "miss"
    assert (await gateway.chat(prompt, **force)).headers["x-entroute-cache"] == "exact"
    assert len(await workers.bodies()) == 1


async def test_what_changes_the_answer_is_another_entry(gateway: Client, prompt: str):
    await gateway.chat(prompt, temperature=0)
    for change in ({"max_tokens": 3}, {"stop": ["x"]}, {"model": "large"}, {"n": 2}):
        response = await gateway.chat(prompt, temperature=0, **change)
        assert response.headers["x-entroute-cache"] == "miss", change
    response = await gateway.chat(prompt, temperature=0, user="someone", metadata={"a": "b"})
    assert response.headers["x-entroute-cache"] == "exact"


async def test_a_failure_is_not_cached(gateway: Client, workers: Workers, prompt: str):
    await workers.small.script(failure={"kind": "status", "status": 500})
    assert (await gateway.chat(prompt, temperature=0)).status_code == 502
    await workers.small.script(failure=None)
    assert (await gateway.chat(prompt, temperature=0)).headers["x-entroute-cache"] == "miss"


async def test_tenants_do_not_see_each_others_answers(
    serve: Serve, http: httpx.AsyncClient, tmp_path: Path, prompt: str
):
    keys = tmp_path / "keys.yaml"
    entries = [
        {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "tenant": tenant}
        for name, tenant in (("one", "a"), ("two", "a"), ("three", "b"))
    ]
    keys.write_text(yaml.safe_dump({"keys": entries}))
    gateway = await serve(auth={"keys_file": str(keys)})
    seen = [
        (await gateway.chat(prompt, temperature=0, headers={"authorization": f"Bearer {key}"}))
        for key in ("one", "two", "three")
    ]
    assert [response.headers["x-entroute-cache"] for response in seen] == ["miss", "exact", "miss"]


async def test_gateways_share_a_redis(
    serve: Serve, workers: Workers, redis: RedisServer, prompt: str
):
    cache = {"kind": "redis", "url": redis.url, "timeout_ms": 2000}
    one, other = await serve(cache=cache), await serve(cache=cache)
    first = await one.chat(prompt, temperature=0)
    second = await other.chat(prompt, temperature=0)
    assert first.headers["x-entroute-cache"] == "miss"
    assert second.headers["x-entroute-cache"] == "exact"
    assert second.json()["choices"] == first.json()["choices"]
    assert len(await workers.bodies()) == 1


async def test_a_redis_that_is_killed_is_a_miss_and_comes_back(serve: Serve, prompt: str):
    with redis_server() as server:
        gateway = await serve(cache={"kind": "redis", "url": server.url, "timeout_ms": 1000})
        await gateway.chat(prompt, temperature=0)
        server.kill()
        lost = await gateway.chat(prompt, temperature=0)
        assert lost.status_code == 200
        assert lost.headers["x-entroute-cache"] == "miss"
        assert lost.headers["x-entroute-degraded"] == "cache"
        events = await gateway.events(prompt, temperature=0)
        assert events.chunks[-1]["entroute"]["degraded"] == ["cache"]
        assert await gateway.sample("entroute_degraded_total", part="cache") == 2


async def test_a_redis_that_never_was_is_a_miss(serve: Serve, prompt: str):
    gateway = await serve(cache={"kind": "redis", "url": "unix:///nonexistent/redis.sock"})
    response = await gateway.chat(prompt, temperature=0)
    assert response.status_code == 200
    assert response.headers["x-entroute-degraded"] == "cache"


async def test_no_cache_is_a_bypass(serve: Serve, prompt: str):
    gateway = await serve(cache={"kind": "off"})
    for _ in range(2):
        response = await gateway.chat(prompt, temperature=0)
        assert response.headers["x-entroute-cache"] == "bypass"
