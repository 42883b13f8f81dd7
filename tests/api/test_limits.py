"""Limits of API keys over HTTP: what clients are told, and who is held back."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio

from tests.api.conftest import Client, Workers, base_settings, client_of, eventually
from tests.gateway_process import serving
from tests.keys import write_key_file
from tests.redis_server import redis_server

pytestmark = pytest.mark.asyncio(loop_scope="session")

ASK: list[Any] = [{"role": "user", "content": "Hi"}]
ROOM_S = 20.0
"""Seconds of a minute that a test of its limit may need."""

KEYS: dict[str, dict[str, Any]] = {
    "minute": {"limits": {"requests_per_minute": 3, "tokens_per_minute": 100_000}},
    "twin": {"limits": {"requests_per_minute": 3}},
    "month": {"limits": {"requests_per_month": 2}, "group": "team"},
    "tokens": {"limits": {"tokens_per_month": 300}},
    "money": {"limits": {"cost_per_month_usd": 0.0001}},
    "refused": {"limits": {"requests_per_month": 2}},
    "gone": {"limits": {"requests_per_month": 50, "tokens_per_month": 100_000}},
    "cached": {"limits": {"requests_per_month": 50, "tokens_per_month": 100_000}},
    "leader": {"limits": {"tokens_per_month": 100_000}},
    "follower": {"limits": {"requests_per_month": 50, "tokens_per_month": 100_000}},
    "responses": {"limits": {"requests_per_month": 1}},
    "free": {},
}
TENANTS: dict[str, dict[str, Any]] = {
    name: {"tenant": f"tenant of {name}", **facts} for name, facts in KEYS.items()
}
TENANTS["follower"]["tenant"] = TENANTS["leader"]["tenant"]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def limited_url(
    fake_workers: Workers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[str]:
    keys = write_key_file(tmp_path_factory.mktemp("keys") / "keys.yaml", TENANTS)
    settings = base_settings(fake_workers, auth={"keys_file": str(keys)})
    async with serving(settings) as url:
        yield url


@pytest_asyncio.fixture(loop_scope="session")
async def limited(limited_url: str, workers: Workers, http: httpx.AsyncClient) -> Client:
    """A gateway whose keys have limits, alone."""
    return client_of(limited_url, http)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def early_in_a_minute() -> None:
    """Wait for the next minute unless this one has room for a test."""
    left = 60 - time.time() % 60
    if left < ROOM_S:
        await asyncio.sleep(left + 0.1)


async def test_the_sdk_raises_its_typed_error_and_reads_when_to_retry(
    limited: Client, http: httpx.AsyncClient
):
    await early_in_a_minute()
    sdk = client_of(limited.url, http, "minute").sdk
    for place in range(3):
        raw = await sdk.chat.completions.with_raw_response.create(model="small", messages=ASK)
        assert raw.headers["x-ratelimit-limit-requests"] == "3"
        assert raw.headers["x-ratelimit-remaining-requests"] == str(2 - place)
        assert raw.headers["x-ratelimit-limit-tokens"] == "100000"
        assert 0 < int(raw.headers["x-ratelimit-remaining-tokens"]) < 100_000
        assert raw.headers["x-ratelimit-reset-requests"].endswith("s")
    with pytest.raises(openai.RateLimitError) as raised:
        await sdk.chat.completions.create(model="small", messages=ASK)
    error, headers = raised.value, raised.value.response.headers
    assert (error.code, error.type, error.status_code) == (
        "rate_limit_exceeded",
        "requests",
        429,
    )
    assert "Limit 3, Used 3, Requested 1" in error.message
    assert 1 <= int(headers["retry-after"]) <= 60
    assert headers["x-should-retry"] == "true"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    # its twin has the same limit, of its own
    response = await limited.chat(headers=bearer("twin"))
    assert response.status_code == 200
    assert response.headers["x-ratelimit-remaining-requests"] == "2"


async def test_a_months_limit_is_a_quota_that_no_retry_helps(
    limited: Client, http: httpx.AsyncClient
):
    sdk = client_of(limited.url, http, "month").sdk
    stream = await sdk.chat.completions.with_raw_response.create(
        model="small", messages=ASK, stream=True
    )
    assert stream.headers["x-ratelimit-remaining-requests"] == "1"
    async for _ in stream.parse():
        pass
    await sdk.chat.completions.create(model="small", messages=ASK)
    before = await limited.sample("entroute_requests_total", outcome="client_error")
    with pytest.raises(openai.RateLimitError) as raised:
        await sdk.chat.completions.create(model="small", messages=ASK, stream=True)
    error = raised.value
    assert (error.code, error.type) == ("insufficient_quota", "insufficient_quota")
    assert error.response.headers["x-should-retry"] == "false"
    assert int(error.response.headers["retry-after"]) <= 31 * 86_400
    assert await limited.sample("entroute_requests_total", outcome="client_error") == before + 1
    refused = {"limit": "requests_per_month", "group": "team"}
    assert await limited.sample("entroute_limited_total", **refused) == 1
    team = {"group": "team"}
    assert await limited.sample("entroute_group_requests_total", outcome="ok", **team) == 2
    assert await limited.sample("entroute_group_tokens_total", kind="completion", **team) > 0
    assert await limited.sample("entroute_group_cost_usd_total", **team) > 0


@pytest.mark.parametrize(("key", "dimension"), [("tokens", "tokens"), ("money", "micro-dollars")])
async def test_spending_is_limited_by_what_workers_counted(
    limited: Client, key: str, dimension: str
):
    answered = 0
    while (response := await limited.chat(headers=bearer(key))).status_code == 200:
        answered += 1
        assert answered < 200
    assert answered > 1
    error = response.json()["error"]
    assert error["type"] == "insufficient_quota"
    assert f"on {dimension} per month" in error["message"]


async def test_a_request_that_the_walk_refuses_counts_not(limited: Client):
    for _ in range(5):
        response = await limited.chat(headers=bearer("refused"), model="nothing-like-it")
        assert response.status_code == 404
        assert response.headers["x-ratelimit-limit-requests"] == "2"
    for _ in range(2):
        assert (await limited.chat(headers=bearer("refused"))).status_code == 200
    assert (await limited.chat(headers=bearer("refused"))).status_code == 429


async def test_a_bad_body_is_answered_with_the_headers_too(limited: Client):
    response = await limited.post("chat/completions", {"model": 3}, bearer("refused"))
    assert response.status_code == 400
    assert response.headers["x-ratelimit-limit-requests"] == "2"


async def test_a_key_without_limits_gets_no_such_headers(limited: Client):
    response = await limited.chat(headers=bearer("free"))
    assert [name for name in response.headers if "ratelimit" in name] == []


async def used(client: Client, key: str) -> dict[str, float]:
    response = await client.get("/v1/usage", bearer(key))
    assert response.status_code == 200, response.text
    return {limit["name"]: limit["used"] for limit in response.json()["limits"]}


async def test_a_client_that_leaves_is_charged_what_was_generated(
    limited: Client, workers: Workers
):
    await workers.small.script(tokens=4000, tokens_per_second=500)
    body = {"model": "small", "messages": ASK, "stream": True}
    url = f"{limited.url}/v1/chat/completions"
    async with (
        httpx.AsyncClient() as own,
        own.stream("POST", url, json=body, headers=bearer("gone")) as stream,
    ):
        async for _ in stream.aiter_lines():
            break

    async def calls() -> float:
        page = (await limited.get("/v1/usage", bearer("gone"))).json()
        partial: float = page["totals"]["partial_calls"]
        return partial

    assert await eventually(calls, 1, within_s=10)
    spent = await used(limited, "gone")
    assert spent["requests_per_month"] == 1
    assert 0 < spent["tokens_per_month"] < 4000


async def test_a_cached_answer_counts_as_a_request_and_no_tokens(limited: Client):
    await limited.chat("Cache me", headers=bearer("cached"), temperature=0)
    first = await used(limited, "cached")
    again = await limited.chat("Cache me", headers=bearer("cached"), temperature=0)
    assert again.headers["x-entroute-cache"] == "exact"
    after = await used(limited, "cached")
    assert after["requests_per_month"] == first["requests_per_month"] + 1 == 2
    assert after["tokens_per_month"] == first["tokens_per_month"] > 0


async def test_a_shared_answer_is_charged_to_who_asked_first_even_if_it_left(
    limited: Client, workers: Workers
):
    await workers.small.script(ttft_ms=1500)
    body = {"model": "small", "messages": ASK, "temperature": 0}
    url = f"{limited.url}/v1/chat/completions"
    async with httpx.AsyncClient() as own:
        first = asyncio.create_task(own.post(url, json=body, headers=bearer("leader")))
        async with asyncio.timeout(10):
            while not await workers.bodies():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        second = asyncio.create_task(limited.chat("Hi", headers=bearer("follower"), temperature=0))
        await asyncio.sleep(0.3)
        first.cancel()
        answer = await second
    assert (answer.status_code, answer.headers["x-entroute-cache"]) == (200, "exact")
    tokens = answer.json()["usage"]["total_tokens"]
    assert len(await workers.bodies()) == 1

    async def charged() -> float:
        return (await used(limited, "leader"))["tokens_per_month"]

    assert await eventually(charged, tokens, within_s=10)
    assert await used(limited, "follower") == {"requests_per_month": 1, "tokens_per_month": 0}


async def test_responses_are_limited_like_chats(limited: Client):
    body = {"model": "small", "input": "Hi"}
    first = await limited.post("responses", body, bearer("responses"))
    assert first.headers["x-ratelimit-remaining-requests"] == "0"
    second = await limited.post("responses", body, bearer("responses"))
    assert (first.status_code, second.status_code) == (200, 429)
    assert second.json()["error"]["code"] == "insufficient_quota"


@pytest.mark.parametrize("when", ["open", "closed"])
async def test_a_hung_redis_is_survived_as_configured(
    workers: Workers, http: httpx.AsyncClient, tmp_path: Path, when: str
):
    limits = {"requests_per_month": 30}
    keys = write_key_file(tmp_path / "keys.yaml", {"one": {"tenant": "t", "limits": limits}})
    with redis_server() as server:
        settings = base_settings(
            workers,
            redis={"url": server.url, "timeout_ms": 1000},
            auth={"keys_file": str(keys), "when_redis_fails": when},
        )
        async with serving(settings) as url:
            client = client_of(url, http)
            for _ in range(5):
                assert (await client.chat(headers=bearer("one"))).status_code == 200
            server.pause()
            answers = [await client.chat(headers=bearer("one")) for _ in range(40)]
            statuses = [answer.status_code for answer in answers]
            if when == "open":
                assert statuses == [200] * 25 + [429] * 15
                assert answers[24].headers["x-entroute-degraded"] == "limits"
            else:
                held = statuses.count(200)
                assert statuses == [200] * held + [503] * (40 - held)
                assert held < 20
                assert answers[-1].json()["error"]["code"] == "limits_unavailable"
                assert answers[-1].headers["retry-after"] == "1"
            server.resume()

            async def left() -> float:
                page = await client.get("/v1/usage", bearer("one"))
                return page.json()["limits"][0]["left"] if page.status_code == 200 else -1.0

            assert await eventually(left, 25 - statuses.count(200), within_s=20)
