"""A text completion's `echo`: at the edge for every strategy, by the worker where only it can."""

from typing import Any

import openai
import pytest

from tests.api.conftest import Client, Serve, Workers, base_settings
from tests.openai_wire import Events, read_events

pytestmark = pytest.mark.asyncio(loop_scope="session")

PROMPT = "A spider has"


async def streamed(gateway: Client, **fields: Any) -> Events:
    body = {"model": "small", "prompt": PROMPT, "echo": True, "stream": True, **fields}
    return read_events((await gateway.post("completions", body)).text)


async def test_the_prompt_comes_before_the_answer(gateway: Client, workers: Workers):
    await workers.small.script(answer=" eight legs.")
    answer = await gateway.sdk.completions.create(model="small", prompt=PROMPT, echo=True, n=2)
    assert [choice.text for choice in answer.choices] == ["A spider has eight legs."] * 2
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 6
    assert all("echo" not in body for body in await workers.bodies())


async def test_on_a_stream_the_prompt_is_the_first_piece_of_every_choice(
    gateway: Client, workers: Workers
):
    await workers.small.script(answer=" eight legs.")
    events = await streamed(gateway, n=2, stream_options={"include_usage": True})
    first: dict[int, str] = {}
    for chunk in events.chunks:
        for choice in chunk["choices"]:
            first.setdefault(choice["index"], choice["text"])
    assert first == {0: PROMPT, 1: PROMPT}
    assert events.text_of(0) == events.text_of(1) == "A spider has eight legs."
    assert events.done


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("strategy", ["single", "cascade", "self_consistency"])
async def test_every_strategy_echoes_and_none_sees_the_echo(
    gateway: Client, workers: Workers, strategy: str, *, stream: bool
):
    await workers.small.script(answer=" 4")
    entroute = {"strategy": strategy, "explain": True}
    body = {"model": "auto", "prompt": "2 + 2 =", "echo": True, "entroute": entroute}
    response = await gateway.post("completions", {**body, "stream": stream})
    if stream:
        events = read_events(response.text)
        assert events.text == "2 + 2 = 4"
        evidence = events.chunks[-1]["entroute"]
    else:
        assert response.json()["choices"][0]["text"] == "2 + 2 = 4"
        evidence = response.json()["entroute"]
    assert "2 + 2 = 4" not in str(evidence)
    assert all("echo" not in sent for sent in await workers.bodies())


async def test_the_prompt_s_own_log_probabilities_come_from_the_worker(
    gateway: Client, workers: Workers
):
    await workers.small.script(answer=" eight legs.")
    answer = await gateway.sdk.completions.create(
        model="small", prompt=PROMPT, echo=True, logprobs=2, max_tokens=2
    )
    (choice,) = answer.choices
    assert choice.text == "A spider has eight legs"
    told = choice.logprobs
    assert told is not None
    assert told.tokens == ["A", " spider", " has", " eight", " legs"]
    assert told.text_offset == [0, 1, 8, 12, 18]
    logprobs = told.model_dump()["token_logprobs"]
    assert logprobs[0] is None
    assert all(logprob < 0 for logprob in logprobs[1:])
    assert (await workers.bodies())[0]["echo"] is True


async def test_they_stream_too(gateway: Client, workers: Workers):
    await workers.small.script(answer=" eight legs.")
    events = await streamed(gateway, logprobs=0, max_tokens=2)
    told = [c["choices"][0]["logprobs"] for c in events.chunks if c["choices"][0]["logprobs"]]
    assert events.text == "A spider has eight legs"
    assert [at for one in told for at in one["text_offset"]] == [0, 1, 8, 12, 18]
    assert [p is None for one in told for p in one["token_logprobs"]] == [True] + [False] * 4


@pytest.mark.parametrize("stream", [True, False])
async def test_a_prompt_may_be_read_without_an_answer(
    gateway: Client, workers: Workers, *, stream: bool
):
    entropies = await gateway.sample("entroute_entropy_nats_count", tier="small")
    body = {"model": "small", "prompt": PROMPT, "echo": True, "max_tokens": 0, "logprobs": 1}
    response = await gateway.post("completions", {**body, "stream": stream})
    assert response.status_code == 200
    text = read_events(response.text).text if stream else response.json()["choices"][0]["text"]
    assert text == PROMPT
    assert (await workers.bodies())[0]["max_tokens"] == 0
    assert await gateway.sample("entroute_entropy_nats_count", tier="small") == entropies


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_no_tokens_at_all_need_an_echo(gateway: Client, workers: Workers, name: str):
    with pytest.raises(openai.BadRequestError) as refused:
        await gateway.sdk.completions.create(model="small", prompt="x", extra_body={name: 0})
    assert refused.value.param == name
    assert await workers.bodies() == []


@pytest.mark.parametrize("fields", [{"logprobs": 1}, {"max_tokens": 0}])
@pytest.mark.parametrize(
    "asked",
    [
        {"model": "auto"},
        {"model": "small", "entroute": {"strategy": "self_consistency"}},
        {"model": "auto", "entroute": {"strategy": "cascade"}},
    ],
)
async def test_what_only_a_worker_echoes_needs_one_direct_answer(
    gateway: Client, workers: Workers, fields: dict[str, Any], asked: dict[str, Any]
):
    body = {"prompt": PROMPT, "echo": True, **fields, **asked}
    response = await gateway.post("completions", body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "echo"
    assert await workers.bodies() == []


async def test_auto_with_the_strategy_single_is_one_direct_answer(gateway: Client):
    body = {"model": "auto", "prompt": PROMPT, "echo": True, "logprobs": 0}
    response = await gateway.post("completions", {**body, "entroute": {"strategy": "single"}})
    assert response.json()["choices"][0]["text"].startswith(PROMPT)


async def test_a_worker_that_cannot_read_a_prompt_out_is_not_asked_to(
    serve: Serve, workers: Workers
):
    tiers = [
        {**tier, "fill_in_middle": {"prefix": "<P>", "suffix": "<S>", "middle": "<M>"}}
        for tier in base_settings(workers)["tiers"]
    ]
    gateway = await serve(tiers=tiers)
    body = {"model": "small", "prompt": "a", "suffix": "b", "echo": True, "logprobs": 1}
    response = await gateway.post("completions", body)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "echo")


async def test_an_echo_is_another_cache_entry(gateway: Client):
    body = {"model": "small", "prompt": "Say it twice", "temperature": 0, "max_tokens": 2}
    plain = await gateway.post("completions", body)
    echoed = await gateway.post("completions", {**body, "echo": True})
    again = await gateway.post("completions", {**body, "echo": True})
    assert [r.headers["x-entroute-cache"] for r in (plain, echoed, again)] == [
        "miss",
        "miss",
        "exact",
    ]
    assert again.json()["choices"] == echoed.json()["choices"]
    assert (
        echoed.json()["choices"][0]["text"] == "Say it twice" + plain.json()["choices"][0]["text"]
    )
