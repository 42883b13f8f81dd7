"""Whole chat completions: OpenAI's fields keep their meaning on the way to the worker and back."""

from typing import Any

import pytest

from tests.api.conftest import (
    OPEN,
    PROBED_EASY,
    PROBED_HARD,
    PROBED_MIDDLE_SURE,
    PROBED_MIDDLE_UNSURE,
    Client,
    Serve,
    Workers,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

ASK: list[Any] = [{"role": "user", "content": "How many legs has a spider?"}]
WEATHER: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}


async def test_a_pinned_tier_answers_with_text_usage_and_finish_reason(
    gateway: Client, workers: Workers
):
    await workers.small.script(answer="It has eight legs.")
    answer = await gateway.sdk.chat.completions.create(model="small", messages=ASK)
    assert answer.choices[0].message.content == "It has eight legs."
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.id.startswith("chatcmpl-")
    assert answer.model == "qwen-small"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 5


@pytest.mark.parametrize(("asked", "tier"), [("qwen-large", "large"), ("large", "large")])
async def test_a_served_model_id_pins_its_tier(
    gateway: Client, workers: Workers, asked: str, tier: str
):
    answer = await gateway.sdk.chat.completions.create(model=asked, messages=ASK)
    assert answer.model == "qwen-large"
    assert len(await workers.bodies(tier)) == 1
    assert await workers.bodies("small") == []


@pytest.mark.parametrize(
    ("certainty", "strategy", "model"),
    [
        (PROBED_EASY, "single", "qwen-small"),
        (PROBED_MIDDLE_SURE, "cascade", "qwen-small"),
        (PROBED_MIDDLE_UNSURE, "cascade", "qwen-large"),
        (PROBED_HARD, "single", "qwen-large"),
    ],
)
async def test_auto_spends_by_the_small_models_certainty(
    gateway: Client, workers: Workers, certainty: float, strategy: str, model: str
):
    await workers.small.script(certainty=certainty, tokens=60)
    response = await gateway.chat(OPEN, model="auto")
    assert response.headers["x-entroute-strategy"] == strategy
    assert response.json()["model"] == model


async def test_auto_answers_an_easy_prompt_with_one_small_call(gateway: Client, workers: Workers):
    await gateway.answer("Hi", model="auto")
    assert len(await workers.bodies("small")) == 1
    assert await workers.bodies("large") == []


async def test_n_choices_are_n_samples_and_one_prompt(gateway: Client, workers: Workers):
    await workers.small.script(answers=["one", "one two", "one two three"])
    answer = await gateway.sdk.chat.completions.create(model="small", messages=ASK, n=3)
    assert sorted(c.message.content or "" for c in answer.choices) == [
        "one",
        "one two",
        "one two three",
    ]
    assert [c.index for c in answer.choices] == [0, 1, 2]
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 6
    sent = await workers.bodies()
    assert len(sent) == 3
    assert all(body.get("n", 1) == 1 for body in sent)


async def test_logprobs_come_as_they_were_asked(gateway: Client, workers: Workers):
    await workers.small.script(answer="yes no")
    answer = await gateway.sdk.chat.completions.create(
        model="small", messages=ASK, logprobs=True, top_logprobs=3
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert [entry.token for entry in logprobs.content] == ["yes", " no"]
    assert [len(entry.top_logprobs) for entry in logprobs.content] == [3, 3]


async def test_logprobs_without_alternatives_have_none(gateway: Client):
    answer = await gateway.answer(logprobs=True)
    assert [t["top_logprobs"] for t in answer["choices"][0]["logprobs"]["content"]] == [[]] * 16


@pytest.mark.parametrize("top", [0, 2])
async def test_a_cascades_own_alternatives_do_not_reach_the_client(gateway: Client, top: int):
    answer = await gateway.answer(
        model="auto", logprobs=True, top_logprobs=top, entroute={"strategy": "cascade"}
    )
    tokens = answer["choices"][0]["logprobs"]["content"]
    assert len(tokens) == 16
    assert {len(token["top_logprobs"]) for token in tokens} == {top}


async def test_log_probabilities_asked_for_our_own_use_are_stripped(
    gateway: Client, workers: Workers
):
    answer = await gateway.answer(model="auto", entroute={"strategy": "cascade"})
    assert (await workers.bodies())[0]["logprobs"] is True
    assert answer["choices"][0]["logprobs"] is None


async def test_tools_and_their_calls_pass_through(gateway: Client, workers: Workers):
    call = {"name": "weather", "arguments": {"city": "Oslo"}}
    await workers.small.script(answer={"tool_calls": [call, call]})
    answer = await gateway.sdk.chat.completions.create(
        model="small",
        messages=ASK,
        tools=[WEATHER],
        tool_choice="auto",
        parallel_tool_calls=True,
    )
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    calls: list[Any] = list(choice.message.tool_calls or [])
    assert [one.function.name for one in calls] == ["weather", "weather"]
    assert calls[0].function.arguments == '{"city": "Oslo"}'
    assert len({one.id for one in calls}) == 2
    sent = (await workers.bodies())[0]
    assert sent["tools"] == [WEATHER]
    assert sent["tool_choice"] == "auto"
    assert sent["parallel_tool_calls"] is True


async def test_a_conversation_with_tool_results_reaches_the_worker_untouched(
    gateway: Client, workers: Workers
):
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages = [
        {"role": "developer", "content": "Be brief.", "name": "boss"},
        {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    ]
    await gateway.answer(messages=messages)
    assert (await workers.bodies())[0]["messages"] == messages


async def test_response_format_and_stop_reach_the_worker(gateway: Client, workers: Workers):
    await workers.small.script(answer="one two. three")
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    answer = await gateway.answer(response_format=form, stop=["wo."])
    assert answer["choices"][0]["message"]["content"] == "one t"
    assert answer["choices"][0]["stop_reason"] == "wo."
    sent = (await workers.bodies())[0]
    assert sent["response_format"] == form
    assert sent["stop"] == ["wo."]


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_either_name_of_the_cap_cuts_the_answer(gateway: Client, name: str):
    cap: dict[str, Any] = {name: 2}
    answer = await gateway.answer(**cap)
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 2


async def test_sample_i_gets_seed_plus_i(gateway: Client, workers: Workers):
    await gateway.answer(n=3, seed=40, temperature=1.0)
    assert sorted(body["seed"] for body in await workers.bodies()) == [40, 41, 42]


async def test_the_samples_of_a_vote_get_seeds_too(gateway: Client, workers: Workers):
    options = {"strategy": "self_consistency", "verifier": {"kind": "majority"}}
    await gateway.answer(seed=7, entroute=options)
    assert sorted(body["seed"] for body in await workers.bodies()) == [7, 8, 9, 10, 11]


async def test_nothing_is_sent_that_was_not_asked(gateway: Client, workers: Workers):
    await gateway.answer()
    assert set((await workers.bodies())[0]) == {"model", "messages"}


async def test_unknown_fields_pass_through(gateway: Client, workers: Workers):
    fields: dict[str, Any] = {
        "min_p": 0.1,
        "reasoning_effort": "low",
        "structured_outputs": {"regex": "a+"},
    }
    await gateway.answer(**fields)
    sent = (await workers.bodies())[0]
    assert {name: sent[name] for name in fields} == fields


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("priority", 1),
        ("ignore_eos", True),
        ("kv_transfer_params", {}),
        ("chat_template", "{{ messages }}"),
        ("cache_salt", "x"),
    ],
)
async def test_engine_private_fields_are_denied(
    gateway: Client, workers: Workers, name: str, value: Any
):
    response = await gateway.chat(**{name: value})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == name
    assert await workers.bodies() == []


async def test_engine_private_fields_pass_when_the_operator_allows_them(
    serve: Serve, workers: Workers
):
    gateway = await serve(allow_fields=["priority"])
    await gateway.answer(priority=3)
    assert (await workers.bodies())[0]["priority"] == 3
    assert (await gateway.chat(cache_salt="x")).status_code == 400


async def test_reasoning_passes_beside_the_content(gateway: Client, workers: Workers):
    await workers.small.script(answer={"reasoning": "Spiders are arachnids.", "text": "Eight."})
    answer = await gateway.answer()
    message = answer["choices"][0]["message"]
    assert message["reasoning_content"] == "Spiders are arachnids."
    assert message["content"] == "Eight."


async def test_images_are_refused_by_tiers_that_do_not_take_them(gateway: Client):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    response = await gateway.chat(messages=[{"role": "user", "content": [image]}], model="auto")
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "messages"
