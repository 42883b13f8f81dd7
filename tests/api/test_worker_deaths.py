"""A worker dies in the middle of an answer: whoever has read nothing of it does not notice."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.api.conftest import PATIENT, Client, Serve, Workers, base_settings, client_of
from tests.api.ways import BUBBLEWRAP, Way, asked, every_way, idle, scripted
from tests.gateway_process import serving
from tests.openai_wire import read_events

pytestmark = pytest.mark.asyncio(loop_scope="session")

DEATHS: list[dict[str, Any]] = [
    {"kind": "reset", "after_tokens": 2, "times": 1},
    {"kind": "truncated", "after_tokens": 2, "times": 1},
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_url(fake_workers: Workers) -> AsyncIterator[str]:
    changes = {"sandbox": BUBBLEWRAP, "breaker": PATIENT}
    async with serving(base_settings(fake_workers, **changes)) as url:
        yield url


@pytest_asyncio.fixture(loop_scope="session")
async def sandboxed(shared_url: str, workers: Workers, http: httpx.AsyncClient) -> Client:
    """A gateway that runs programs, before workers that answer these tests' prompts."""
    await scripted(workers)
    return client_of(shared_url, http)


@pytest.mark.parametrize("death", DEATHS, ids=lambda death: death["kind"])
@every_way
async def test_a_plain_answer_survives_a_worker_that_breaks_off(
    sandboxed: Client, workers: Workers, way: Way, death: dict[str, Any]
) -> None:
    await scripted(workers, failure=death)
    response = await asked(sandboxed, way)
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["choices"][0]["message"]["content"] == way.answer
    spent = body["usage"]["entroute"]
    received = len(await workers.bodies("small")) + len(await workers.bodies("large"))
    assert received - 2 <= spent["calls"] <= received  # a connection that died may be tried twice
    assert await idle(workers)


async def test_several_choices_survive_together(serve: Serve, workers: Workers) -> None:
    gateway = await serve()
    await scripted(workers, failure=DEATHS[0])
    body = await gateway.answer("What is 17 * 3? Say it.", n=3)
    assert len(body["choices"]) == 3
    assert {row["purpose"]: row["calls"] for row in body["usage"]["entroute"]["by"]} == {
        "answer": 3,
        "discarded": 3,
    }
    assert await gateway.sample("entroute_requests_in_flight") == 0


async def test_a_stream_of_which_nothing_was_released_begins_anew(
    serve: Serve, workers: Workers
) -> None:
    small = {"name": "small", "model": "qwen-small"}
    gateway = await serve(tiers=[{**small, "workers": [{"url": f"{workers.small.url}/v1"}]}])
    await scripted(workers, failure=DEATHS[1])
    way = Way("cascade")
    events = read_events((await asked(gateway, way, stream=True)).text)
    assert events.done
    assert events.error is None
    assert events.text == way.answer
    assert len(await workers.bodies("small")) == 2


async def test_a_stream_that_has_begun_ends_with_an_error(serve: Serve, workers: Workers) -> None:
    gateway = await serve()
    await scripted(workers, failure=DEATHS[1])
    events = await gateway.events("What is 17 * 3? Say it.")
    assert events.error is not None
    assert not events.done
    assert len(await workers.bodies("small")) == 1


async def test_repetitions_are_bounded_by_the_retry_budget(serve: Serve, workers: Workers) -> None:
    gateway = await serve(retries={"budget": 0, "min_per_s": 0})
    await scripted(workers, failure={**DEATHS[1], "times": None})
    response = await gateway.chat("What is 17 * 3? Say it.", n=2)
    assert response.status_code == 502
    assert len(await workers.bodies("small")) == 2
    assert await gateway.sample("entroute_retries_total", tier="small", result="budget") == 1
