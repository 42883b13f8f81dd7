"""A repeated prompt resumes its vote at another gateway of the same Redis."""

from typing import Any
from uuid import uuid4

import pytest

from tests.api.conftest import Client, Serve, Workers
from tests.api.ways import BUBBLEWRAP, CODE, FUNCTION, scripted
from tests.redis_server import RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def prompt() -> str:
    """A prompt that no other test has asked."""
    return f"How many legs has spider {uuid4().hex}?"


def shared(redis: RedisServer, **changes: Any) -> dict[str, Any]:
    """Return the settings of one of several gateways on a Redis."""
    return {"cache": {"kind": "redis", "url": redis.url, "timeout_ms": 2000}, **changes}


def votes(samples: int) -> dict[str, Any]:
    return {"strategies": [{"kind": "self_consistency", "samples": samples}]}


async def vote(gateway: Client, prompt: str, **fields: Any) -> dict[str, Any]:
    option = {"strategy": "self_consistency", "explain": True, **fields.pop("entroute", {})}
    return await gateway.answer(prompt, seed=7, temperature=0.7, entroute=option, **fields)


async def test_a_second_gateway_draws_what_the_first_has_not(
    serve: Serve, workers: Workers, redis: RedisServer, prompt: str
):
    first = await serve(**shared(redis, **votes(4)))
    second = await serve(**shared(redis, **votes(7)))
    before = await vote(first, prompt)
    body = await vote(second, prompt)
    seeds = [asked["seed"] for asked in await workers.bodies()]
    assert seeds == list(range(7, 14))
    assert body["usage"]["entroute"]["calls"] == 3
    assert body["usage"]["prompt_tokens"] == before["usage"]["prompt_tokens"]
    assert (before["entroute"]["resumed"], body["entroute"]["resumed"]) == (0, 4)
    assert sum(candidate["resumed"] for candidate in body["entroute"]["candidates"]) == 4
    named = {"strategy": "self_consistency"}
    assert await second.sample("entroute_samples_total", result="resumed", **named) == 4
    assert await second.sample("entroute_samples_total", result="finished", **named) == 3
    assert await second.sample("entroute_tokens_saved_total", reason="resumed") > 0
    assert await second.sample("entroute_cache_lookups_total", kind="samples", result="hit") == 1


async def test_a_smaller_budget_is_spent_on_new_samples_alone(
    serve: Serve, workers: Workers, redis: RedisServer, prompt: str
):
    first = await serve(**shared(redis, **votes(3)))
    second = await serve(**shared(redis, **votes(8)))
    await vote(first, prompt)
    body = await vote(second, prompt, entroute={"budget": {"max_calls": 3}})
    assert len(await workers.bodies()) == 6
    assert len(body["entroute"]["candidates"]) <= 6
    assert body["usage"]["entroute"]["calls"] <= 3


async def test_an_operator_may_have_every_vote_start_over(
    serve: Serve, workers: Workers, redis: RedisServer, prompt: str
):
    settings = shared(redis)
    settings["cache"]["resume"] = False
    gateways = [await serve(**settings, **votes(samples)) for samples in (3, 4)]
    for gateway in gateways:
        await vote(gateway, prompt)
    assert len(await workers.bodies()) == 7


async def test_programs_of_a_repeated_prompt_are_not_run_again(
    serve: Serve, workers: Workers, redis: RedisServer, prompt: str
):
    await scripted(workers)
    option, ran = {"strategy": "code_cluster", "explain": True}, []
    for samples in (3, 5):
        cluster = {"kind": "code_cluster", "samples": samples}
        gateway = await serve(**shared(redis, sandbox=BUBBLEWRAP, strategies=[cluster]))
        body = await gateway.answer(f"{prompt}\n{FUNCTION}", seed=7, entroute=option)
        assert body["choices"][0]["message"]["content"] == CODE
        results = ("miss", "hit", "error", "changing")
        counts = [await gateway.sample("entroute_executions_total", result=r) for r in results]
        ran.append(counts)
    assert ran == [[1, 0, 0, 0], [0, 1, 0, 0]]
