"""Queues, priorities and load shedding over HTTP, before real workers with little room."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import openai
import pytest

from tests.api.conftest import Client, Serve, Workers, client_of, eventually
from tests.gateway_process import two_tiers
from tests.keys import write_key_file

pytestmark = pytest.mark.asyncio(loop_scope="session")

ASK: list[Any] = [{"role": "user", "content": "Hi"}]
LONG_S = 60.0
VOTE: dict[str, Any] = {"temperature": 0.7, "entroute": {"strategy": "self_consistency"}}
SAMPLES = 8

A = TypeVar("A")


async def within(answer: Awaitable[A]) -> A:
    """Wait for what must come, however slow this machine is."""
    return await asyncio.wait_for(answer, LONG_S)


def narrow(workers: Workers, most: int, **changes: Any) -> dict[str, Any]:
    """Return settings whose workers are given so many calls at once."""
    tiers = two_tiers(workers.small.url, workers.large.url)["tiers"]
    return {"tiers": [{**tier, "max_in_flight": most} for tier in tiers], **changes}


@asynccontextmanager
async def held(
    client: Client, workers: Workers, count: int, headers: Mapping[str, str] | None = None
) -> AsyncIterator[None]:
    """Have so many streams of one tier run, until the block ends."""
    await workers.small.script(tokens=100_000, tokens_per_second=100)
    async with asyncio.TaskGroup() as group:
        leave = asyncio.Event()
        for _ in range(count):
            group.create_task(_streamed(client, leave, headers))
        assert await eventually(lambda: in_flight(client), count, within_s=LONG_S)
        await workers.small.script(tokens=4, tokens_per_second=0)
        try:
            yield
        finally:
            leave.set()


async def _streamed(
    client: Client, leave: asyncio.Event, headers: Mapping[str, str] | None = None
) -> None:
    body = {"model": "small", "messages": ASK, "stream": True}
    url = f"{client.url}/v1/chat/completions"
    async with (
        httpx.AsyncClient(timeout=LONG_S, headers=headers) as http,
        http.stream("POST", url, json=body),
    ):
        await leave.wait()


async def order(workers: Workers) -> list[str]:
    """Return what the worker was asked, in the order in which it was asked."""
    return [body["messages"][-1]["content"] for body in await workers.bodies()]


async def in_flight(client: Client) -> float:
    return await client.sample("entroute_worker_inflight", tier="small")


async def depth(client: Client) -> float:
    return await client.sample("entroute_queue_depth", tier="small")


async def waiting(client: Client, count: float) -> None:
    assert await eventually(lambda: depth(client), count, within_s=LONG_S)


async def shed(client: Client, kind: str) -> float:
    return await client.sample("entroute_shed_total", kind=kind)


async def test_a_hundred_requests_at_a_tier_of_four_are_all_answered(
    serve: Serve, workers: Workers
):
    client = await serve(**narrow(workers, 4))
    await workers.small.script(ttft_ms=20, tokens=2)
    asks = [asyncio.create_task(client.chat()) for _ in range(100)]
    seen = []
    while not all(ask.done() for ask in asks):
        seen.append((await workers.small.metrics())["vllm:num_requests_running"])
    assert {ask.result().status_code for ask in asks} == {200}
    assert 1 <= max(seen) <= 4
    assert await client.sample("entroute_queue_wait_seconds_count", tier="small") >= 90
    assert (await depth(client), await in_flight(client)) == (0, 0)


async def test_what_finds_no_room_is_told_when_to_come_back(serve: Serve, workers: Workers):
    client = await serve(**narrow(workers, 1, queue={"size": 1}))
    async with held(client, workers, 1):
        waits = asyncio.create_task(client.chat())
        await waiting(client, 1)
        with pytest.raises(openai.InternalServerError) as raised:
            await client.sdk.chat.completions.create(model="small", messages=ASK)
        error, headers = raised.value, raised.value.response.headers
        assert (error.status_code, error.code) == (503, "overloaded")
        assert 1 <= int(headers["retry-after"]) <= 60
        assert headers["x-should-retry"] == "true"
        assert await shed(client, "full") == 1
    assert (await within(waits)).status_code == 200


async def test_a_wait_that_is_too_long_is_refused_and_a_deadline_is_no_refusal(
    serve: Serve, workers: Workers
):
    client = await serve(**narrow(workers, 1, queue={"timeout_s": 0.3}))
    async with held(client, workers, 1):
        late = await client.chat(entroute={"budget": {"deadline_ms": 100}})
        assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline_exceeded")
        slow = await client.chat()
        assert (slow.status_code, slow.json()["error"]["code"]) == (503, "overloaded")
        assert await shed(client, "timeout") == 1
    assert len(await workers.bodies()) == 1


async def test_time_in_the_queue_is_no_overhead(serve: Serve, workers: Workers):
    client = await serve(**narrow(workers, 1))
    async with held(client, workers, 1):
        waits = asyncio.create_task(client.chat())
        await waiting(client, 1)
        await asyncio.sleep(1.0)
    answer = await within(waits)
    assert float(answer.headers["x-entroute-overhead-ms"]) < 800
    assert await client.sample("entroute_queue_wait_seconds_sum", tier="small") >= 0.9


async def test_a_client_that_leaves_frees_its_place_in_the_queue(serve: Serve, workers: Workers):
    client = await serve(**narrow(workers, 1))
    async with held(client, workers, 1):
        gone = asyncio.create_task(_streamed(client, asyncio.Event()))
        stays = asyncio.create_task(client.chat())
        await waiting(client, 2)
        gone.cancel()
        await waiting(client, 1)
    assert (await within(stays)).status_code == 200
    assert await eventually(lambda: in_flight(client), 0, within_s=LONG_S)
    assert len(await workers.bodies()) == 2


async def test_embeddings_wait_too(serve: Serve, workers: Workers):
    url = f"{workers.small.url}/v1"
    tier = {"name": "e", "model": "qwen-small", "workers": [{"url": url}], "max_in_flight": 1}
    tiers = [two_tiers(workers.small.url, workers.large.url)["tiers"][1]]
    client = await serve(tiers=tiers, embeddings=[tier])
    answers = await asyncio.gather(
        *(client.post("embeddings", {"model": "e", "input": f"text {n}"}) for n in range(20))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert await client.sample("entroute_queue_wait_seconds_count", tier="e") > 0


async def test_a_higher_priority_overtakes_and_displaces(serve: Serve, workers: Workers):
    client = await serve(**narrow(workers, 1, queue={"size": 2}))

    async def asks(priority: str) -> int:
        answer = await client.chat(priority, headers={"x-entroute-priority": priority})
        return answer.status_code

    async with held(client, workers, 1):
        normal = asyncio.create_task(asks("normal"))
        await waiting(client, 1)
        low = asyncio.create_task(asks("low"))
        await waiting(client, 2)
        high = asyncio.create_task(asks("high"))
        assert await within(low) == 503
        assert await shed(client, "displaced") == 1
    assert {await within(normal), await within(high)} == {200}
    assert await order(workers) == ["Hi", "high", "normal"]


async def votes(client: Client, text: str, **fields: Any) -> tuple[int, httpx.Response]:
    """Ask for eight samples; return how many calls were made for it."""
    answer = await within(client.chat(text, **{**VOTE, **fields}))
    assert answer.status_code == 200, answer.text
    return answer.json()["usage"]["entroute"]["calls"], answer


async def test_samples_shrink_before_anything_is_refused_and_are_not_kept(
    serve: Serve, workers: Workers
):
    client = await serve(
        **narrow(workers, 10),
        strategies=[{"kind": "self_consistency", "samples": SAMPLES}],
        limits={"max_calls": SAMPLES},
        cache={"kind": "memory"},
    )
    force = {"entroute": {**VOTE["entroute"], "cache": "force"}}
    async with held(client, workers, 9):  # under a pressure of .9, half way
        shrunk, answer = await votes(client, "What is 6 times 7?", **force)
        assert 1 <= shrunk < SAMPLES
        assert answer.headers["x-entroute-degraded"] == "load"
        assert await shed(client, "samples") == 1
        assert await client.sample("entroute_degraded_total", part="load") == 1
        assert await client.sample("entroute_budget_exhausted_total") == 0
        high = {"entroute": {**force["entroute"], "priority": "high"}}
        calls, answer = await votes(client, "What is 6 times 8?", **high)
        assert calls == SAMPLES
        assert "x-entroute-degraded" not in answer.headers
    calls, answer = await votes(client, "What is 6 times 7?", **force)
    # Its samples were kept, its answer was not: the others are added now.
    assert (calls, answer.headers["x-entroute-cache"]) == (SAMPLES - shrunk, "miss")
    assert "x-entroute-degraded" not in answer.headers
    _, answer = await votes(client, "What is 6 times 7?", **force)
    assert answer.headers["x-entroute-cache"] == "exact"
    assert {kind: await shed(client, kind) for kind in ("full", "timeout")} == {
        "full": 0,
        "timeout": 0,
    }


async def test_answers_wanted_are_not_samples_and_do_not_shrink(serve: Serve, workers: Workers):
    client = await serve(**narrow(workers, 4))
    async with held(client, workers, 3):
        asks = asyncio.create_task(client.chat(n=4))
        await asyncio.sleep(0)
    answer = await within(asks)
    assert len(answer.json()["choices"]) == 4


@asynccontextmanager
async def keyed(serve: Serve, workers: Workers, tmp_path: Path) -> AsyncIterator[Client]:
    keys = {
        f"key-{priority}": {"tenant": priority, "priority": priority}
        for priority in ("low", "normal", "high")
    }
    path = write_key_file(tmp_path / "keys.yaml", {**keys, "key-plain": {"tenant": "plain"}})
    yield await serve(**narrow(workers, 4), auth={"keys_file": str(path)})


def bearer(priority: str) -> dict[str, str]:
    return {"authorization": f"Bearer key-{priority}"}


@pytest.mark.parametrize(
    ("key", "asked", "status"),
    [
        ("low", "low", 200),
        ("low", "normal", 403),
        ("plain", "normal", 200),
        ("plain", "high", 403),
        ("high", "high", 200),
        ("high", "low", 200),
    ],
)
async def test_a_keys_priority_is_the_most_that_its_requests_may_ask_for(  # noqa: PLR0917
    serve: Serve, workers: Workers, tmp_path: Path, key: str, asked: str, status: int
):
    async with keyed(serve, workers, tmp_path) as client:
        answer = await client.chat(headers=bearer(key), entroute={"priority": asked})
        assert answer.status_code == status
        if status == 403:
            assert answer.json()["error"]["param"] == "entroute.priority"
            with pytest.raises(openai.PermissionDeniedError):
                await client_of(client.url, client.http, f"key-{key}").sdk.responses.create(
                    model="small", input="Hi", extra_body={"entroute": {"priority": asked}}
                )


@pytest.mark.parametrize(
    ("key", "tier", "served"),
    [
        ("normal", "flex", "flex"),
        ("normal", "priority", "default"),
        ("high", "priority", "priority"),
        ("high", "auto", "priority"),
        ("low", "default", "flex"),
    ],
)
async def test_openais_service_tier_is_a_wish(  # noqa: PLR0917
    serve: Serve, workers: Workers, tmp_path: Path, key: str, tier: Any, served: str
):
    async with keyed(serve, workers, tmp_path) as client:
        sdk = client_of(client.url, client.http, f"key-{key}").sdk
        made = await sdk.chat.completions.create(model="small", messages=ASK, service_tier=tier)
        assert made.service_tier == served
        stream = await sdk.chat.completions.create(
            model="small", messages=ASK, service_tier=tier, stream=True
        )
        assert {chunk.service_tier async for chunk in stream} == {served}
        response = await sdk.responses.create(model="small", input="Hi", service_tier=tier)
        assert response.service_tier == served
        assert all("service_tier" not in body for body in await workers.bodies())
        plain = await sdk.chat.completions.create(model="small", messages=ASK)
        assert plain.service_tier is None


async def test_priorities_that_are_none_are_refused_by_name(gateway: Client):
    answer = await gateway.chat(entroute={"priority": "urgent"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "entroute.priority")
    answer = await gateway.chat(priority=3)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "priority")
    answer = await gateway.chat(service_tier=3)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "service_tier")


async def test_a_tenant_with_many_waiting_calls_does_not_block_another(
    serve: Serve, workers: Workers, tmp_path: Path
):
    keys = {"key-crowd": {"tenant": "crowd"}, "key-alone": {"tenant": "alone"}}
    path = write_key_file(tmp_path / "keys.yaml", keys)
    client = await serve(**narrow(workers, 1), auth={"keys_file": str(path)})

    async def asks(key: str) -> int:
        return (await client.chat(key, headers=bearer(key))).status_code

    async with held(client, workers, 1, bearer("crowd")):
        crowd = [asyncio.create_task(asks("crowd")) for _ in range(20)]
        await waiting(client, 20)
        alone = asyncio.create_task(asks("alone"))
        await waiting(client, 21)
    assert {await within(task) for task in (alone, *crowd)} == {200}
    assert "alone" in (await order(workers))[:3]
