"""What a client can make others pay for."""

from typing import Any

import pytest

from tests.api.conftest import Client, Serve, Workers

pytestmark = pytest.mark.asyncio(loop_scope="session")

VOTE = {"strategy": "self_consistency", "cache": "bypass"}


async def test_no_option_raises_the_servers_caps(serve: Serve, workers: Workers):
    gateway = await serve(limits={"max_calls": 2})
    budget = {"max_calls": 1_000_000, "max_generated_tokens": 10**15, "deadline_ms": 1e12}
    for fields in ({"entroute": {**VOTE, "budget": budget}}, {"n": 128}):
        await workers.small.forget()
        await gateway.chat("What is 17 * 3?", **fields)
        assert len(await workers.bodies()) <= 2


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 129},
        {"n": 10**9},
        {"best_of": 5},
        {"n_cmpl": 5},
        {"use_beam_search": True},
        {"ignore_eos": True},
        {"priority": -1},
        {"n_predict": -1},
        {"logprobs": True, "top_logprobs": 21},
    ],
)
async def test_what_would_multiply_an_answer_unseen_is_refused(
    gateway: Client, workers: Workers, fields: dict[str, Any]
):
    assert (await gateway.chat(**fields)).status_code == 400
    assert await workers.bodies() == []


async def test_no_answer_is_longer_than_the_servers_cap(serve: Serve, workers: Workers):
    gateway = await serve(limits={"max_generated_tokens": 32})
    await gateway.chat("Tell me", max_tokens=100_000)
    (body,) = await workers.bodies()
    assert body["max_tokens"] <= 32
