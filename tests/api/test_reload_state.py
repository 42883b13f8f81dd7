"""What a reload keeps: limits, responses, answers; and what it must not give again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import Client, Workers, base_settings, client_of, eventually
from tests.api.promises import plan_of, profile_file, settings_of
from tests.gateway_process import Served, merged, served
from tests.keys import write_key_file
from tests.reloads import WITHIN_S, reloaded

pytestmark = pytest.mark.asyncio(loop_scope="session")

KEY = {"authorization": "Bearer sk-alice"}


@asynccontextmanager
async def running(
    folder: Path, settings: dict[str, Any], http: httpx.AsyncClient
) -> AsyncIterator[tuple[Served, Client]]:
    with served(folder, settings) as gateway:
        yield gateway, client_of(gateway.url, http)
        gateway.terminate()
        assert await asyncio.to_thread(gateway.process.wait, WITHIN_S) == 0
    assert "Traceback" not in gateway.log.read_text()


async def cache_of(client: Client, **fields: Any) -> str:
    answer = await client.chat("What is kept?", temperature=0, **fields)
    assert answer.status_code == 200
    return answer.headers["x-entroute-cache"]


async def test_a_kept_answer_survives_what_cannot_change_it(
    workers: Workers, http: httpx.AsyncClient, tmp_path: Path
):
    settings = base_settings(workers)
    async with running(tmp_path, settings, http) as (gateway, client):
        assert await cache_of(client) == "miss"
        assert await cache_of(client) == "exact"
        unrelated = merged(settings, {"health": {"interval_s": 9}, "server": {"keep_alive_s": 3}})
        small, large = unrelated["tiers"]
        unrelated["tiers"] = [{**small, "price": {"prompt": 7.0}}, large]
        assert await reloaded(gateway, unrelated) == "configuration reloaded: server, tiers, health"
        assert await cache_of(client) == "exact"


async def test_no_answer_of_another_policy_or_tier_is_given(
    workers: Workers, http: httpx.AsyncClient, tmp_path: Path
):
    settings = base_settings(workers)
    changes: list[dict[str, Any]] = [
        {"policy": {"kind": "threshold", "easy_below": 0.2, "hard_above": 0.6}},
        {"strategies": [{"kind": "cascade", "window": 16, "threshold": 0.8}]},
        {"limits": {"max_calls": 5}},
    ]
    async with running(tmp_path, settings, http) as (gateway, client):
        assert await cache_of(client) == "miss"
        for change in changes:
            await reloaded(gateway, merged(settings, change))
            assert await cache_of(client) == "miss", change
            assert await cache_of(client) == "exact"
        small, large = settings["tiers"]
        await reloaded(gateway, {**settings, "tiers": [{**small, "vision": True}, large]})
        await reloaded(gateway, {**settings, "tiers": [{**small, "model": "qwen-large"}]})
        await reloaded(gateway, settings)
        assert await cache_of(client) == "exact"  # made by this very configuration


async def test_limits_count_on_and_responses_can_be_read(
    workers: Workers, http: httpx.AsyncClient, tmp_path: Path
):
    facts = {"tenant": "t", "tiers": ["small"], "limits": {"requests_per_minute": 4}}
    path = write_key_file(tmp_path / "keys.yaml", {"sk-alice": facts})
    settings = base_settings(workers, auth={"keys_file": str(path)})
    async with running(tmp_path, settings, http) as (gateway, client):
        made = await client.post("responses", {"model": "small", "input": "Hi"}, KEY)
        assert made.status_code == 200
        for _ in range(2):
            assert (await client.chat(headers=KEY)).status_code == 200
        await reloaded(gateway, merged(settings, {"limits": {"max_calls": 3}}))
        kept = await client.get(f"/v1/responses/{made.json()['id']}", KEY)
        assert kept.status_code == 200
        assert kept.json()["output"] == made.json()["output"]
        assert (await client.chat(headers=KEY)).status_code == 200
        assert (await client.chat(headers=KEY)).status_code == 429


async def test_keys_may_name_the_tiers_that_are_new(
    workers: Workers, http: httpx.AsyncClient, tmp_path: Path
):
    facts = {"tenant": "t", "tiers": ["small"]}
    path = write_key_file(tmp_path / "keys.yaml", {"sk-alice": facts})
    settings = base_settings(workers, auth={"keys_file": str(path)})
    small, large = settings["tiers"]
    async with running(tmp_path, settings, http) as (gateway, client):
        huge = {**large, "name": "huge", "model": "qwen-huge"}
        said = await reloaded(gateway, {**settings, "tiers": [small, large, huge]})
        assert said == "configuration reloaded: tiers"
        write_key_file(path, {"sk-alice": {**facts, "tiers": ["small", "huge"]}})

        async def named() -> float:
            return "huge" in (await client.get("/v1/models", KEY)).text

        assert await eventually(named, True, within_s=WITHIN_S)


async def test_a_profile_that_was_fitted_again_decides(
    workers: Workers, http: httpx.AsyncClient, tmp_path: Path
):
    profile = profile_file(tmp_path, trade_off=0.1)
    settings = settings_of(workers, profile)
    async with running(tmp_path, settings, http) as (gateway, client):
        assert await plan_of(client) == "large x1"
        first = profile.read_bytes()
        profile_file(tmp_path, trade_off=0.5)
        assert await plan_of(client) == "large x1"  # nobody has asked for it yet
        assert await reloaded(gateway) == "configuration reloaded: profile"
        assert await plan_of(client) == "small x1"
        profile.write_bytes(b"no profile")
        assert (await reloaded(gateway)).startswith("reload refused, nothing has changed: ")
        assert await plan_of(client) == "small x1"
        profile.write_bytes(first)
        assert await reloaded(gateway) == "configuration reloaded: profile"
        assert await plan_of(client) == "large x1"
