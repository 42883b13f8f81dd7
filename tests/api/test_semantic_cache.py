"""Answers found by meaning, over HTTP and with the real embedding model."""

import hashlib
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from entroute.app import check_files, create_app
from entroute.errors import ConfigurationError
from entroute.settings import Settings
from tests.api.conftest import Serve
from tests.gateway_process import two_tiers
from tests.redis_server import RedisServer

pytestmark = pytest.mark.timeout(600)  # the model may have to be fetched

SEMANTIC = {"enabled": True, "threshold": 0.8, "embed_timeout_ms": 5000}


@pytest.mark.models
@pytest.mark.asyncio(loop_scope="session")
async def test_a_paraphrase_is_answered_and_a_contradiction_is_not(serve: Serve) -> None:
    gateway = await serve(cache={"semantic": SEMANTIC})
    explained: dict[str, Any] = {"temperature": 0, "entroute": {"explain": True}}
    first = await gateway.chat("How do I enable dark mode on my phone?", **explained)
    again = await gateway.chat("How can I enable dark mode on my phone?", **explained)
    other = await gateway.chat("How do I disable dark mode on my phone?", **explained)
    assert first.headers["x-entroute-cache"] == "miss"
    assert again.headers["x-entroute-cache"] == "semantic"
    assert again.headers["x-entroute-calls"] == "0"
    assert again.json()["choices"] == first.json()["choices"]
    assert again.json()["usage"]["entroute"]["completion_tokens"] == 0
    assert again.json()["entroute"]["semantic"]["result"] == "hit"
    assert again.json()["entroute"]["semantic"]["similarity"] > 0.9
    assert other.headers["x-entroute-cache"] == "miss"
    assert other.json()["entroute"]["semantic"]["guard"] == "antonyms"
    lookups = "entroute_cache_lookups_total"
    assert await gateway.sample(lookups, kind="semantic", result="hit") == 1
    assert await gateway.sample(lookups, kind="semantic", result="guarded") == 1
    assert await gateway.sample(lookups, kind="exact", result="miss") == 3
    assert await gateway.sample("entroute_cache_false_hit_guard_total", guard="antonyms") == 1
    assert await gateway.sample("entroute_tokens_saved_total", reason="cache") > 0


@pytest.mark.models
@pytest.mark.asyncio(loop_scope="session")
async def test_another_gateway_finds_it_on_either_redis(
    serve: Serve, redis: RedisServer, redis8: RedisServer
) -> None:
    for server in (redis, redis8):
        cache = {
            "kind": "redis",
            "url": server.url,
            "timeout_ms": 5000,
            "semantic": SEMANTIC,
        }
        one, two = await serve(cache=cache), await serve(cache=cache)
        word = uuid4().hex
        await one.chat(f"How do I install {word} on Linux?", temperature=0)
        again = await two.chat(f"How can I install {word} on Linux?", temperature=0)
        assert again.headers["x-entroute-cache"] == "semantic"


@pytest.mark.models
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(("across", "seen"), [(False, "miss"), (True, "semantic")])
async def test_tenants_share_only_where_that_is_configured(
    serve: Serve, tmp_path: Path, seen: str, *, across: bool
) -> None:
    keys = tmp_path / "keys.yaml"
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("one", "two")}
    entries = [{"name": name, "sha256": digest, "tenant": name} for name, digest in digests.items()]
    keys.write_text(yaml.safe_dump({"keys": entries}), encoding="utf-8")
    cache = {"semantic": SEMANTIC, "across_tenants": across}
    gateway = await serve(cache=cache, auth={"keys_file": str(keys)})
    asked = [("one", "How do I enable dark mode?"), ("two", "How can I enable dark mode?")]
    answers = [
        await gateway.chat(text, temperature=0, headers={"authorization": f"Bearer {key}"})
        for key, text in asked
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[1].headers["x-entroute-cache"] == seen


def settings(**semantic: object) -> Settings:
    tiers = two_tiers("http://127.0.0.1:1", "http://127.0.0.1:2")
    return Settings.model_validate({**tiers, "cache": {"semantic": semantic}})


def test_without_its_extra_it_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.path", [])
    monkeypatch.delitem(sys.modules, "tokenizers", raising=False)
    check_files(settings(enabled=False))
    for refuse in (check_files, create_app):
        with pytest.raises(ConfigurationError, match=r"pip install 'entroute\[semantic\]'"):
            refuse(settings(enabled=True))
