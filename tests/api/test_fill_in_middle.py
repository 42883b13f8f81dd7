"""A text completion's `suffix`: by the model's own tokens, by the worker, or not at all."""

from typing import Any

import openai
import pytest

from tests.api.conftest import Client, Serve, Workers, base_settings
from tests.openai_wire import read_events

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOKENS = {"prefix": "<P>", "suffix": "<S>", "middle": "<M>"}
ASK: dict[str, Any] = {"prompt": "def add(a, b):\n    return ", "suffix": "\n\nadd(1, 2)"}
FILLED = "<P>def add(a, b):\n    return <S>\n\nadd(1, 2)<M>"


def tiers(workers: Workers, **facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Return both tiers, with facts of either by name."""
    return [{**tier, **facts.get(tier["name"], {})} for tier in base_settings(workers)["tiers"]]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_model_is_asked_by_its_own_tokens(serve: Serve, workers: Workers, *, stream: bool):
    gateway = await serve(tiers=tiers(workers, small={"fill_in_middle": TOKENS}))
    await workers.small.script(answer="a + b")
    body = {"model": "small", **ASK, "echo": True, "stream": stream}
    response = await gateway.post("completions", body)
    text = read_events(response.text).text if stream else response.json()["choices"][0]["text"]
    assert text == ASK["prompt"] + "a + b"
    (sent,) = await workers.bodies()
    assert sent["prompt"] == FILLED
    assert "suffix" not in sent


async def test_workers_that_take_a_suffix_get_it_untouched(serve: Serve, workers: Workers):
    gateway = await serve(tiers=tiers(workers, small={"suffix": "native"}))
    await gateway.sdk.completions.create(model="small", **ASK)
    (sent,) = await workers.bodies()
    assert (sent["prompt"], sent["suffix"]) == (ASK["prompt"], ASK["suffix"])


async def test_a_tier_that_cannot_is_refused_by_the_field(gateway: Client, workers: Workers):
    for model in ("small", "auto"):
        with pytest.raises(openai.BadRequestError) as refused:
            await gateway.sdk.completions.create(model=model, **ASK)
        assert refused.value.param == "suffix"
    assert await workers.bodies() == await workers.bodies("large") == []


@pytest.mark.parametrize("entroute", [{}, {"strategy": "single"}, {"strategy": "self_consistency"}])
async def test_under_auto_only_tiers_that_can_are_asked(
    serve: Serve, workers: Workers, entroute: dict[str, Any]
):
    gateway = await serve(tiers=tiers(workers, large={"fill_in_middle": TOKENS}))
    body = {"model": "auto", **ASK, "entroute": entroute}
    response = await gateway.post("completions", body)
    assert response.status_code == 200, response.text
    assert response.headers["x-entroute-tier"] == "large"
    assert await workers.bodies() == []
    assert {sent["prompt"] for sent in await workers.bodies("large")} == {FILLED}


async def test_every_tier_is_asked_by_its_own_tokens(serve: Serve, workers: Workers):
    others = {"prefix": "<1>", "suffix": "<2>", "middle": "<3>"}
    facts = {"small": {"fill_in_middle": TOKENS}, "large": {"fill_in_middle": others}}
    gateway = await serve(tiers=tiers(workers, **facts))
    await workers.small.script(failure={"kind": "status", "status": 500})
    body = {"model": "auto", **ASK, "entroute": {"strategy": "single"}}
    assert (await gateway.post("completions", body)).status_code == 200
    (sent,) = await workers.bodies("large")
    assert sent["prompt"].startswith("<1>")


async def test_a_suffix_is_another_cache_entry(serve: Serve, workers: Workers):
    gateway = await serve(tiers=tiers(workers, small={"fill_in_middle": TOKENS}))
    body = {"model": "small", "prompt": "a", "temperature": 0}
    first = [await gateway.post("completions", {**body, **more}) for more in ({}, {"suffix": "b"})]
    again = await gateway.post("completions", {**body, "suffix": "b"})
    assert [r.headers["x-entroute-cache"] for r in (*first, again)] == ["miss", "miss", "exact"]


async def test_an_empty_suffix_is_none(gateway: Client, workers: Workers):
    response = await gateway.post("completions", {"model": "small", "prompt": "a", "suffix": ""})
    assert response.status_code == 200
    assert "suffix" not in (await workers.bodies())[0]


async def test_both_ways_of_filling_in_contradict_each_other(serve: Serve, workers: Workers):
    facts = {"small": {"fill_in_middle": TOKENS, "suffix": "native"}}
    with pytest.raises(ValueError, match="either fill_in_middle or suffix"):
        await serve(tiers=tiers(workers, **facts))
