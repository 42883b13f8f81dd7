"""Responses kept in a real Redis: shared by gateways, and what its failures cost."""

import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from redis import Redis

from tests.api.conftest import Client, Serve, Workers, base_settings, client_of
from tests.api.responses.conftest import answer, events, post
from tests.gateway_process import served
from tests.redis_server import RedisServer, redis_server

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A server of a test's own, to be broken."""
    with redis_server() as server:
        yield server


async def on(serve: Serve, server: RedisServer, timeout_ms: int = 2000) -> Client:
    return await serve(redis={"url": server.url, "timeout_ms": timeout_ms})


def keys_of(server: RedisServer) -> list[bytes]:
    with Redis.from_url(server.url) as redis:
        return [key for key in redis.keys("*") if b":response:" in key]


async def test_one_gateway_goes_on_where_another_began(
    serve: Serve, own_redis: RedisServer, workers: Workers
):
    await workers.small.script(answers=["a", "b", "c"])
    one, other = await on(serve, own_redis), await on(serve, own_redis)
    first = await answer(one, input="1")
    second = (await events(other, input="2", previous_response_id=first["id"])).last
    await answer(one, input="3", previous_response_id=second["id"])
    said = [message["content"] for message in (await workers.bodies())[-1]["messages"]]
    assert said == ["1", "a", "2", "b", "3"]
    assert (await other.get(f"/v1/responses/{first['id']}")).json() == first
    assert (await other.http.delete(f"{other.url}/v1/responses/{first['id']}")).status_code == 200
    assert (await one.get(f"/v1/responses/{first['id']}")).status_code == 404


async def test_keys_live_for_a_time_and_name_nobody(serve: Serve, own_redis: RedisServer):
    gateway = await on(serve, own_redis)
    first = await answer(gateway, input="a secret prompt")
    (key,) = keys_of(own_redis)
    assert key.startswith(b"entroute:response:")
    assert key.endswith(first["id"].encode())
    assert b"anonymous" not in key
    with Redis.from_url(own_redis.url) as redis:
        assert 29 * 86400 < redis.ttl(key) <= 30 * 86400
        redis.delete(key)
    assert (await gateway.get(f"/v1/responses/{first['id']}")).status_code == 404


@pytest.mark.parametrize("stream", [False, True])
async def test_a_redis_that_hangs_costs_the_keeping_alone(
    serve: Serve, own_redis: RedisServer, *, stream: bool
):
    gateway = await on(serve, own_redis, timeout_ms=50)
    await answer(gateway)
    own_redis.pause()
    try:
        began = time.monotonic()
        if stream:
            last = (await events(gateway)).last
            assert last["status"] == "completed"
            assert last["entroute"]["degraded"] == ["responses"]
        else:
            response = await post(gateway)
            assert response.status_code == 200
            assert response.headers["x-entroute-degraded"] == "responses"
        assert time.monotonic() - began < 3  # seconds, on a machine that is much slower, too
    finally:
        own_redis.resume()
    assert await gateway.sample("entroute_stored_responses_total", result="unavailable") >= 1


async def test_what_cannot_be_read_is_503_and_to_be_tried_again(
    serve: Serve, own_redis: RedisServer, workers: Workers
):
    gateway = await on(serve, own_redis, timeout_ms=50)
    first = await answer(gateway)
    own_redis.pause()
    try:
        path = f"{gateway.url}/v1/responses/{first['id']}"
        for response in (
            await post(gateway, previous_response_id=first["id"]),
            await post(gateway, previous_response_id=first["id"], stream=True),
            await gateway.http.get(path),
            await gateway.http.get(f"{path}/input_items"),
            await gateway.http.delete(path),
        ):
            assert response.status_code == 503, response.text
            assert int(response.headers["retry-after"]) >= 1
            assert response.headers["x-should-retry"] == "true"
            assert own_redis.url not in response.text
    finally:
        own_redis.resume()
    assert len(await workers.bodies()) == 1


async def test_a_redis_that_comes_back_is_used_again(serve: Serve, own_redis: RedisServer):
    gateway = await on(serve, own_redis, timeout_ms=1000)
    own_redis.kill()
    assert (await post(gateway)).headers["x-entroute-degraded"] == "responses"
    own_redis.start()
    give_up = time.monotonic() + 20
    while "x-entroute-degraded" in (await post(gateway)).headers:
        assert time.monotonic() < give_up
    assert keys_of(own_redis)


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\x01",
        b"\x01nonsense",
        b"\x02" + zlib.compress(b'{"response": {"output": []}, "items": []}'),
        b"\x01" + zlib.compress(b"nonsense"),
        b"\x01" + zlib.compress(b"[]"),
        b"\x01" + zlib.compress(b'{"response": [], "items": []}'),
        b"\x01" + zlib.compress(b'{"response": {"output": 3}, "items": []}'),
        b"\x01" + zlib.compress(b'{"response": {"output": []}, "items": [3]}'),
    ],
    ids=range(9),
)
async def test_garbage_is_not_found_and_counted(
    serve: Serve, own_redis: RedisServer, garbage: bytes
):
    gateway = await on(serve, own_redis)
    first = await answer(gateway)
    (key,) = keys_of(own_redis)
    with Redis.from_url(own_redis.url) as redis:
        redis.set(key, garbage)
    assert (await gateway.get(f"/v1/responses/{first['id']}")).status_code == 404
    response = await post(gateway, previous_response_id=first["id"])
    assert response.json()["error"]["code"] == "previous_response_not_found"
    assert await gateway.sample("entroute_stored_responses_total", result="damaged") == 2


async def test_a_key_of_another_kind_is_not_found_and_counted(serve: Serve, own_redis: RedisServer):
    gateway = await on(serve, own_redis)
    first = await answer(gateway)
    (key,) = keys_of(own_redis)
    with Redis.from_url(own_redis.url) as redis:
        redis.delete(key)
        redis.rpush(key, "x")
    assert (await gateway.get(f"/v1/responses/{first['id']}")).status_code == 404
    assert await gateway.sample("entroute_stored_responses_total", result="damaged") == 1


async def test_processes_share_what_they_keep(
    workers: Workers, own_redis: RedisServer, http: httpx.AsyncClient, tmp_path: Path
):
    settings = base_settings(workers, redis={"url": own_redis.url, "timeout_ms": 2000})
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    with served(folders[0], settings) as one, served(folders[1], settings) as other:
        sdks = [client_of(process.url, http).sdk.responses for process in (one, other)]
        await workers.small.script(answers=["a", "b"])
        first = await sdks[0].create(model="small", input="1")
        second = await sdks[1].create(model="small", input="2", previous_response_id=first.id)
        assert second.output_text == "b"
        assert (await sdks[0].retrieve(second.id)).previous_response_id == first.id
    said = [message["content"] for message in (await workers.bodies())[-1]["messages"]]
    assert said == ["1", "a", "2"]
