"""The official SDK reads what the fake worker writes."""

import json
import math
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from loadtest.spawn import FakeWorker, fake_worker

ASK: list[Any] = [{"role": "user", "content": "How many legs has a spider?"}]
TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": {}}}


async def test_a_whole_answer_has_text_usage_and_stops(worker: FakeWorker, sdk: AsyncOpenAI):
    await worker.script(answer="It has eight legs.")
    answer = await sdk.chat.completions.create(model="small", messages=ASK)
    assert answer.choices[0].message.content == "It has eight legs."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 5


async def test_a_stream_says_the_same_as_the_whole_answer(worker: FakeWorker, sdk: AsyncOpenAI):
    await worker.script(answer="It has eight legs.")
    stream = await sdk.chat.completions.create(
        model="small", messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[0].choices[0].delta.role == "assistant"
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert [piece for piece in pieces if piece] == ["It", " has", " eight", " legs", "."]
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 5
    assert len({chunk.id for chunk in chunks}) == 1


async def test_continuous_usage_counts_up_in_every_chunk(sdk: AsyncOpenAI):
    options: Any = {"include_usage": True, "continuous_usage_stats": True}
    stream = await sdk.chat.completions.create(
        model="small", messages=ASK, max_tokens=3, stream=True, stream_options=options
    )
    counts = [chunk.usage.completion_tokens async for chunk in stream if chunk.usage]
    assert counts == [0, 1, 2, 3, 3, 3]


async def test_logprobs_follow_the_scripted_certainty(worker: FakeWorker, sdk: AsyncOpenAI):
    await worker.script(answer={"text": "yes no", "certainty": [0.9, "unsure"]})
    answer = await sdk.chat.completions.create(
        model="small", messages=ASK, logprobs=True, top_logprobs=4
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert [math.exp(entry.logprob) for entry in logprobs.content] == pytest.approx([0.9, 0.4])
    for entry in logprobs.content:
        assert len(entry.top_logprobs) == 4
        assert sum(math.exp(one.logprob) for one in entry.top_logprobs) <= 1
    assert b"".join(bytes(entry.bytes or []) for entry in logprobs.content) == b"yes no"


async def test_text_completions_have_legacy_logprobs(sdk: AsyncOpenAI):
    answer = await sdk.completions.create(model="small", prompt="One two", max_tokens=2, logprobs=2)
    logprobs = answer.choices[0].logprobs
    assert answer.choices[0].text == "word0 word1"
    assert answer.choices[0].finish_reason == "length"
    assert logprobs is not None
    assert logprobs.tokens == ["word0", " word1"]
    assert logprobs.text_offset == [0, 5]
    assert [len(one) for one in logprobs.top_logprobs or []] == [2, 2]


async def test_max_completion_tokens_cuts_the_answer(sdk: AsyncOpenAI):
    answer = await sdk.chat.completions.create(model="small", messages=ASK, max_completion_tokens=2)
    assert answer.choices[0].message.content == "word0 word1"
    assert answer.choices[0].finish_reason == "length"


async def test_a_stop_string_ends_the_text_before_it(worker: FakeWorker, sdk: AsyncOpenAI):
    await worker.script(answer="one two. three")
    answer = await sdk.chat.completions.create(model="small", messages=ASK, stop=["wo."])
    assert answer.choices[0].message.content == "one t"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


async def test_n_choices_share_one_prompt(worker: FakeWorker, sdk: AsyncOpenAI):
    await worker.script(answers=["first", "second"])
    answer = await sdk.chat.completions.create(model="small", messages=ASK, n=3)
    assert [one.message.content for one in answer.choices] == ["first", "second", "first"]
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


async def test_tool_calls_stream_as_indexed_pieces(worker: FakeWorker, sdk: AsyncOpenAI):
    call = {"name": "weather", "arguments": {"city": "Oslo"}}
    await worker.script(answer={"tool_calls": [call, call]})
    stream = await sdk.chat.completions.create(
        model="small", messages=ASK, tools=[TOOL], stream=True
    )
    names, arguments, reason = {}, {0: "", 1: ""}, None
    async for chunk in stream:
        for piece in chunk.choices[0].delta.tool_calls or []:
            assert piece.function is not None
            if piece.function.name:
                names[piece.index] = piece.function.name
            arguments[piece.index] += piece.function.arguments or ""
        reason = chunk.choices[0].finish_reason or reason
    assert names == {0: "weather", 1: "weather"}
    assert [json.loads(text) for text in arguments.values()] == [{"city": "Oslo"}] * 2
    assert reason == "tool_calls"


async def test_whole_tool_calls_need_tools_in_the_request(worker: FakeWorker, sdk: AsyncOpenAI):
    call = {"name": "weather", "arguments": {"city": "Oslo"}}
    await worker.script(answer={"text": "", "tool_calls": [call]})
    answer = await sdk.chat.completions.create(model="small", messages=ASK, tools=[TOOL])
    calls = answer.choices[0].message.tool_calls
    assert calls
    assert calls[0].type == "function"
    assert json.loads(calls[0].function.arguments) == {"city": "Oslo"}
    without = await sdk.chat.completions.create(model="small", messages=ASK)
    assert not without.choices[0].message.tool_calls


async def test_a_partial_answer_is_continued_where_it_ends(worker: FakeWorker, sdk: AsyncOpenAI):
    await worker.script(answer="The answer is 42.")
    answer = await sdk.chat.completions.create(
        model="small",
        messages=[*ASK, {"role": "assistant", "content": "The answer is 4"}],
        extra_body={"continue_final_message": True, "add_generation_prompt": False},
    )
    assert answer.choices[0].message.content == "2."
    with pytest.raises(openai.BadRequestError, match="continue_final_message"):
        await sdk.chat.completions.create(
            model="small", messages=ASK, extra_body={"continue_final_message": True}
        )


async def test_a_repeated_prompt_is_cached_in_blocks(sdk: AsyncOpenAI):
    long: list[Any] = [{"role": "user", "content": "word " * 100}]
    seen = []
    for _ in range(2):
        answer = await sdk.chat.completions.create(model="small", messages=long)
        assert answer.usage is not None
        assert answer.usage.prompt_tokens_details is not None
        seen.append(answer.usage.prompt_tokens_details.cached_tokens)
    assert seen == [0, 96]


async def test_rules_choose_answers_by_the_last_user_message(worker: FakeWorker, sdk: AsyncOpenAI):
    await worker.script(answer="else", rules=[{"contains": "spider", "answers": ["8", "eight"]}])
    texts = []
    for question in ("a spider?", "a dog?", "a spider?"):
        answer = await sdk.chat.completions.create(
            model="small", messages=[{"role": "user", "content": question}]
        )
        texts.append(answer.choices[0].message.content)
    assert texts == ["8", "else", "eight"]
    assert [one["body"]["messages"][0]["content"] for one in await worker.requests()] == [
        "a spider?",
        "a dog?",
        "a spider?",
    ]


async def test_errors_are_the_sdks_typed_exceptions(worker: FakeWorker, sdk: AsyncOpenAI):
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        await sdk.chat.completions.create(model="other", messages=ASK)
    with pytest.raises(openai.BadRequestError, match="max allowed: 20"):
        await sdk.chat.completions.create(
            model="small", messages=ASK, logprobs=True, top_logprobs=21
        )
    with pytest.raises(ValueError, match="ttft_ms"):
        await worker.script(ttft_ms="soon")


async def test_an_api_key_is_demanded_under_v1():
    async with (
        fake_worker(model="small", api_key="right") as worker,
        AsyncOpenAI(base_url=f"{worker.url}/v1", api_key="wrong", max_retries=0) as stranger,
    ):
        with pytest.raises(openai.AuthenticationError):
            await stranger.models.list()
        friend = stranger.with_options(api_key="right")
        assert [model.id async for model in friend.models.list()] == ["small"]
