"""Tags of kept answers over HTTP: how they are given, what they invalidate, what is refused."""

import hashlib
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from tests.api.conftest import Client, Serve
from tests.redis_server import RedisServer, redis_server

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def prompt() -> str:
    """A prompt that no other test has asked."""
    return f"How many legs has spider {uuid4().hex}?"


def tagged(*tags: str) -> dict[str, Any]:
    return {"temperature": 0, "entroute": {"cache_tags": list(tags)}}


async def invalidate(gateway: Client, *tags: Any, key: str = "unused"):
    headers = {"authorization": f"Bearer {key}"}
    return await gateway.post("cache/invalidate", {"tags": list(tags)}, headers)


async def cached(gateway: Client, prompt: str, **fields: Any) -> str:
    response = await gateway.chat(prompt, **{"temperature": 0, **fields})
    assert response.status_code == 200, response.text
    return response.headers["x-entroute-cache"]


async def test_an_invalidated_answer_is_made_anew(gateway: Client, prompt: str):
    assert await cached(gateway, prompt, **tagged("docs:v1", "team/a")) == "miss"
    assert await cached(gateway, prompt, **tagged("docs:v1", "team/a")) == "exact"
    response = await invalidate(gateway, "team/a", "team/a", "unknown")
    assert response.status_code == 200
    assert response.json() == {"object": "cache.invalidation", "tags": ["team/a", "unknown"]}
    assert await cached(gateway, prompt, **tagged("docs:v1", "team/a")) == "miss"
    assert await cached(gateway, prompt) == "exact"


async def test_an_answer_without_the_tag_stays(gateway: Client, prompt: str):
    await cached(gateway, prompt, **tagged("kept"))
    await invalidate(gateway, "other")
    assert await cached(gateway, prompt) == "exact"


@pytest.mark.parametrize(
    "header", ["docs:v1, team/a", "team/a", '["docs:v1", "team/a"]', "team/a , docs:v1,team/a"]
)
async def test_tags_may_be_given_in_a_header(gateway: Client, prompt: str, header: str):
    await cached(gateway, prompt, headers={"x-entroute-cache-tags": header})
    await invalidate(gateway, "team/a")
    assert await cached(gateway, prompt) == "miss"


async def test_an_invalidation_is_counted_and_every_reason_exported(gateway: Client, prompt: str):
    name = "entroute_cache_discarded_total"
    before = await gateway.sample(name, reason="invalidated")
    await cached(gateway, prompt, **tagged("counted"))
    await invalidate(gateway, "counted")
    await cached(gateway, prompt)
    assert await gateway.sample(name, reason="invalidated") == before + 1
    page = (await gateway.get("/metrics")).text
    for reason in ("version", "damaged", "wrong_type", "too_large"):
        assert f'{name}{{reason="{reason}"}}' in page


HOSTILE = ["", "x" * 65, "a b", "ü", "a\n", "*", "{a}", 'a"', "a\x00", "$(id)", "a,b", None, 3]


@pytest.mark.parametrize("tag", HOSTILE)
async def test_a_hostile_tag_is_refused_by_its_place(gateway: Client, prompt: str, tag: Any):
    response = await gateway.chat(prompt, entroute={"cache_tags": ["fine", tag]}, temperature=0)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "entroute.cache_tags.1"
    response = await invalidate(gateway, "fine", tag)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "tags.1"


@pytest.mark.parametrize("header", ["fine,a b", '["fine", ""]', "fine,", "fine,$(id)"])
async def test_a_hostile_tag_in_a_header_is_refused_by_its_place(
    gateway: Client, prompt: str, header: str
):
    response = await gateway.chat(prompt, headers={"x-entroute-cache-tags": header})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "x-entroute-cache-tags.1"


@pytest.mark.parametrize("tags", [[f"t{number}" for number in range(9)], "a", {"a": 1}])
async def test_too_many_tags_or_no_list_are_refused(gateway: Client, prompt: str, tags: Any):
    response = await gateway.chat(prompt, entroute={"cache_tags": tags}, temperature=0)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "entroute.cache_tags"


@pytest.mark.parametrize("body", [{}, {"tags": []}, {"tags": ["a"], "all": True}, {"tags": "a"}])
async def test_an_invalidation_that_names_nothing_is_refused(gateway: Client, body: Any):
    response = await gateway.post("cache/invalidate", body)
    assert response.status_code == 400


async def test_a_header_that_is_not_json_is_refused(gateway: Client, prompt: str):
    response = await gateway.chat(prompt, headers={"x-entroute-cache-tags": '["a'})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "x-entroute-cache-tags"


async def test_without_a_cache_there_is_nothing_to_invalidate(serve: Serve):
    response = await invalidate(await serve(cache={"kind": "off"}), "a")
    assert response.status_code == 404
    assert "cache.kind" in response.json()["error"]["message"]


async def test_a_key_invalidates_its_own_tenants_answers_only(
    serve: Serve, tmp_path: Path, prompt: str
):
    keys = tmp_path / "keys.yaml"
    entries = [
        {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "tenant": tenant}
        for name, tenant in (("one", "a"), ("two", "a"), ("three", "b"))
    ]
    keys.write_text(yaml.safe_dump({"keys": entries}))
    gateway = await serve(auth={"keys_file": str(keys)})

    async def asked_by(key: str) -> str:
        headers = {"authorization": f"Bearer {key}"}
        return await cached(gateway, prompt, headers=headers, **tagged("same"))

    assert [await asked_by(key) for key in ("one", "three")] == ["miss", "miss"]
    assert (await invalidate(gateway, "same", key="three")).status_code == 200
    assert [await asked_by(key) for key in ("one", "three")] == ["exact", "miss"]
    assert (await invalidate(gateway, "same", key="two")).status_code == 200
    assert [await asked_by(key) for key in ("one", "three")] == ["miss", "exact"]
    assert (await invalidate(gateway, "same", key="stranger")).status_code == 401


async def test_an_invalidation_reaches_the_other_gateway(
    serve: Serve, redis: RedisServer, prompt: str
):
    cache = {"kind": "redis", "url": redis.url, "timeout_ms": 2000}
    one, other = await serve(cache=cache), await serve(cache=cache)
    await cached(one, prompt, **tagged("shared"))
    assert await cached(other, prompt) == "exact"
    assert (await invalidate(other, "shared")).status_code == 200
    assert await cached(one, prompt) == "miss"


async def test_an_invalidation_that_may_be_lost_is_no_success(serve: Serve, prompt: str):
    with redis_server() as server:
        gateway = await serve(cache={"kind": "redis", "url": server.url, "timeout_ms": 300})
        await cached(gateway, prompt, **tagged("a"))
        server.pause()
        response = await invalidate(gateway, "a")
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
        assert response.json()["error"]["code"] == "store_unavailable"
        assert "redis" not in response.text
        server.resume()
