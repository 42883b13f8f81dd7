"""What a client of OpenAI's API sees, asked of vLLM itself and of the gateway in front of it."""

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.vllm.conftest import CONTEXT_LENGTH, MODEL, text_of

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(420)]

HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hi."}]
STORY: list[ChatCompletionMessageParam] = [
    {"role": "user", "content": "Write a story about a sailor, at least 1000 words long."}
]
PARTIAL: list[ChatCompletionMessageParam] = [
    *HI,
    {"role": "assistant", "content": "Hello! How"},
]
CONTINUE = {"continue_final_message": True, "add_generation_prompt": False}


async def test_stream_holds_the_same_text_as_the_whole_answer(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(
        model=MODEL, messages=STORY, max_tokens=24, temperature=0
    )
    stream = await client.chat.completions.create(
        model=MODEL, messages=STORY, max_tokens=24, temperature=0, stream=True
    )
    chunks = [chunk async for chunk in stream]

    assert text_of(chunks) == whole.choices[0].message.content != ""
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason == "length"
    assert len(chunks) > 5
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


async def test_usage_asked_for_comes_in_a_last_chunk_without_choices(
    client: openai.AsyncOpenAI,
) -> None:
    stream = await client.chat.completions.create(
        model=MODEL,
        messages=STORY,
        max_tokens=8,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    *body, last = [chunk async for chunk in stream]

    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 8
    assert last.usage.prompt_tokens > 20
    assert all(chunk.usage is None for chunk in body)


async def test_logprobs_are_one_entry_a_token_streamed_or_not(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(
        model=MODEL, messages=HI, max_tokens=24, temperature=0, logprobs=True, top_logprobs=3
    )
    stream = await client.chat.completions.create(
        model=MODEL,
        messages=HI,
        max_tokens=24,
        temperature=0,
        logprobs=True,
        top_logprobs=3,
        stream=True,
    )
    streamed = [
        token
        async for chunk in stream
        for choice in chunk.choices
        if choice.logprobs
        for token in choice.logprobs.content or ()
    ]

    assert whole.choices[0].logprobs is not None
    tokens = whole.choices[0].logprobs.content or []
    assert whole.usage is not None
    assert len(tokens) == whole.usage.completion_tokens
    assert [token.token for token in streamed] == [token.token for token in tokens]
    for token, again in zip(tokens, streamed, strict=True):
        assert token.logprob <= 0
        assert again.logprob == pytest.approx(token.logprob, abs=0.05)
        assert len(token.top_logprobs) == 3
        assert token.top_logprobs[0].token == token.token, "greedy takes the most probable token"


async def test_logprobs_are_those_before_temperature(client: openai.AsyncOpenAI) -> None:
    async def most_probable(temperature: float) -> float:
        answer = await client.chat.completions.create(
            model=MODEL,
            messages=HI,
            max_tokens=1,
            temperature=temperature,
            logprobs=True,
            top_logprobs=20,
        )
        assert answer.choices[0].logprobs is not None
        [token] = answer.choices[0].logprobs.content or []
        return max(alternative.logprob for alternative in token.top_logprobs)

    assert await most_probable(0) == pytest.approx(await most_probable(2), abs=0.01)


async def test_more_than_twenty_alternatives_are_refused(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(
            model=MODEL, messages=HI, max_tokens=1, logprobs=True, top_logprobs=21
        )


async def test_a_continued_answer_holds_only_what_is_new(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(
        model=MODEL, messages=PARTIAL, max_tokens=6, temperature=0, extra_body=CONTINUE
    )
    stream = await client.chat.completions.create(
        model=MODEL, messages=PARTIAL, max_tokens=6, temperature=0, stream=True, extra_body=CONTINUE
    )
    streamed = text_of([chunk async for chunk in stream])

    assert whole.choices[0].message.content == streamed
    assert streamed.startswith(" ")
    assert "Hello" not in streamed


async def test_a_text_completion_carries_legacy_logprobs(client: openai.AsyncOpenAI) -> None:
    answer = await client.completions.create(
        model=MODEL, prompt="def add(a, b):", max_tokens=6, temperature=0, logprobs=2
    )
    stream = await client.completions.create(
        model=MODEL, prompt="def add(a, b):", max_tokens=6, temperature=0, logprobs=2, stream=True
    )
    chunks = [chunk async for chunk in stream]

    [choice] = answer.choices
    assert choice.logprobs is not None
    assert "".join(choice.logprobs.tokens or []) == choice.text
    assert len(choice.logprobs.token_logprobs or []) == 6
    assert len(choice.logprobs.top_logprobs or []) == 6
    assert "".join(piece.text for chunk in chunks for piece in chunk.choices) == choice.text
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 6


async def test_a_stop_string_ends_the_answer_before_it(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model=MODEL, messages=HI, max_tokens=24, temperature=0, stop=["assist"]
    )

    [choice] = answer.choices
    assert choice.finish_reason == "stop"
    assert choice.message.content
    assert "assist" not in choice.message.content


async def test_one_seed_gives_one_answer(client: openai.AsyncOpenAI) -> None:
    async def answer() -> str | None:
        completion = await client.chat.completions.create(
            model=MODEL, messages=STORY, max_tokens=12, temperature=1.0, seed=7
        )
        return completion.choices[0].message.content

    assert await answer() == await answer()


async def test_a_demanded_tool_call_streams_indexed_arguments(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "What is the weather in Paris?"}],
        tools=[
            {
                "type": "function",
                "function": {
                    "name": "get_weather",
                    "parameters": {
                        "type": "object",
                        "properties": {"city": {"type": "string"}},
                        "required": ["city"],
                    },
                },
            }
        ],
        tool_choice="required",
        max_tokens=60,
        temperature=0,
        stream=True,
    )
    calls = [
        call
        async for chunk in stream
        for choice in chunk.choices
        for call in choice.delta.tool_calls or ()
    ]

    assert {call.index for call in calls} == {0}
    assert [c.function.name for c in calls if c.function and c.function.name] == ["get_weather"]
    arguments = "".join(call.function.arguments or "" for call in calls if call.function)
    assert arguments == '{"city": "Paris"}'


async def test_a_json_schema_binds_the_answer(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "How many legs has a cat?"}],
        max_tokens=40,
        temperature=0,
        response_format={
            "type": "json_schema",
            "json_schema": {
                "name": "legs",
                "schema": {
                    "type": "object",
                    "properties": {"legs": {"type": "integer"}},
                    "required": ["legs"],
                    "additionalProperties": False,
                },
            },
        },
    )

    assert (answer.choices[0].message.content or "").replace(" ", "").startswith('{"legs":')


async def test_an_unknown_model_is_not_found(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        await client.chat.completions.create(model="no-such-model", messages=HI, max_tokens=1)

    assert "no-such-model" in refused.value.message


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_beyond_the_context_is_a_bad_request(
    client: openai.AsyncOpenAI, *, stream: bool
) -> None:
    long: list[ChatCompletionMessageParam] = [
        {"role": "user", "content": "word " * (CONTEXT_LENGTH + 500)}
    ]
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(
            model=MODEL, messages=long, max_tokens=1, stream=stream
        )

    assert "context" in refused.value.message


async def test_a_temperature_out_of_range_is_a_bad_request(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(
            model=MODEL, messages=HI, max_tokens=1, temperature=-1.0
        )

    assert "temperature" in refused.value.message
