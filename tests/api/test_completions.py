"""Text completions keep OpenAI's meaning, whole and streamed."""

from typing import Any

import pytest

from tests.api.conftest import Client, Workers
from tests.openai_wire import read_events

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_prompt_is_completed(gateway: Client, workers: Workers):
    await workers.small.script(answer=" eight legs.")
    answer = await gateway.sdk.completions.create(model="small", prompt="A spider has")
    assert answer.choices[0].text == " eight legs."
    assert answer.id.startswith("cmpl-")
    assert answer.model == "qwen-small"
    sent = (await workers.small.requests())[0]
    assert sent["path"] == "/v1/completions"
    assert sent["body"] == {"model": "qwen-small", "prompt": "A spider has"}


async def test_a_list_of_one_prompt_is_a_prompt(gateway: Client):
    answer = await gateway.sdk.completions.create(model="small", prompt=["A spider has"])
    assert answer.choices[0].text


@pytest.mark.parametrize("prompt", [["one", "two"], [], [1, 2, 3], 7, None])
async def test_other_prompts_are_refused_by_name(gateway: Client, prompt: Any):
    response = await gateway.post("completions", {"model": "small", "prompt": prompt})
    assert response.status_code == 400
    assert response.json()["error"]["param"].startswith("prompt")


async def test_legacy_log_probabilities(gateway: Client):
    answer = await gateway.sdk.completions.create(
        model="small", prompt="One", max_tokens=2, logprobs=2
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.tokens == ["word0", " word1"]
    assert logprobs.text_offset == [0, 5]
    assert [len(one) for one in logprobs.top_logprobs or []] == [2, 2]
    assert [p < 0 for p in logprobs.token_logprobs or []] == [True, True]


async def test_a_completion_streams(gateway: Client):
    stream = await gateway.sdk.completions.create(
        model="small", prompt="One", max_tokens=3, stream=True
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].text for chunk in chunks) == "word0 word1 word2"
    assert [c.choices[0].finish_reason for c in chunks] == [None, None, None, "length"]
    assert len({chunk.id for chunk in chunks}) == 1


async def test_a_streamed_completion_has_usage_and_final_values(gateway: Client):
    body = {
        "model": "small",
        "prompt": "One",
        "stream": True,
        "n": 2,
        "logprobs": 1,
        "stream_options": {"include_usage": True},
    }
    events = read_events((await gateway.post("completions", body)).text)
    assert events.done
    assert events.text_of(0) == events.text_of(1) != ""
    assert events.chunks[-1]["choices"] == []
    assert events.chunks[-1]["usage"]["completion_tokens"] == 32
    assert events.chunks[-1]["entroute"]["calls"] == 2


async def test_offsets_of_streamed_log_probabilities_count_from_the_start(gateway: Client):
    body = {"model": "small", "prompt": "One", "stream": True, "logprobs": 0, "max_tokens": 3}
    events = read_events((await gateway.post("completions", body)).text)
    offsets = [
        offset
        for chunk in events.chunks
        if chunk["choices"][0]["logprobs"]
        for offset in chunk["choices"][0]["logprobs"]["text_offset"]
    ]
    assert offsets == [0, 5, 11]


@pytest.mark.parametrize("strategy", ["single", "cascade", "self_consistency"])
async def test_every_strategy_completes_text(gateway: Client, workers: Workers, strategy: str):
    await workers.small.script(answer=" 4")
    answer = await gateway.sdk.completions.create(
        model="auto", prompt="2 + 2 =", extra_body={"entroute": {"strategy": strategy}}
    )
    assert answer.choices[0].text == " 4"
    assert answer.choices[0].logprobs is None


async def test_other_fields_pass_through(gateway: Client, workers: Workers):
    fields: dict[str, Any] = {"stop": ["\n"], "seed": 3, "temperature": 1.0}
    await gateway.post("completions", {"model": "small", "prompt": "One", **fields})
    sent = (await workers.bodies())[0]
    assert {name: sent[name] for name in fields} == fields


async def test_the_newer_name_of_the_token_limit_is_the_limit_here_too(
    gateway: Client, workers: Workers
):
    body = {"model": "small", "prompt": "x", "max_completion_tokens": 3}
    answer = (await gateway.post("completions", body)).json()
    assert answer["usage"]["completion_tokens"] == 3
    (received,) = await workers.bodies()
    assert received["max_tokens"] == 3
    assert "max_completion_tokens" not in received
