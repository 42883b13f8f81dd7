"""Whole responses: what reaches the worker, and what the official SDK reads."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from tests.api.conftest import OPEN, PROBED_HARD, Client, Workers
from tests.api.responses.conftest import answer, post
from tests.workers import generated

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Spider(BaseModel):
    legs: int
    name: str


async def test_text_in_text_out(gateway: Client, workers: Workers):
    await workers.small.script(answer="It has eight legs.")
    response = await gateway.sdk.responses.create(model="small", input="How many legs?")
    assert response.output_text == "It has eight legs."
    assert response.status == "completed"
    assert response.id.startswith("resp_")
    assert response.model == "qwen-small"
    assert [item.type for item in response.output] == ["message"]
    assert (await workers.bodies())[0]["messages"] == [
        {"role": "user", "content": "How many legs?"}
    ]


async def test_nothing_is_sent_that_was_not_asked(gateway: Client, workers: Workers):
    await answer(gateway, store=False, metadata={"a": "b"}, truncation="disabled")
    assert set((await workers.bodies())[0]) == {"model", "messages"}


async def test_every_setting_reaches_the_worker_by_its_name_there(
    gateway: Client, workers: Workers
):
    await answer(
        gateway,
        instructions="Be brief.",
        max_output_tokens=7,
        temperature=0.5,
        top_p=0.9,
        seed=3,
        text={"verbosity": "low"},
        reasoning={"effort": "low", "summary": "auto"},
        user="somebody",
        stop=["wo."],
        min_p=0.1,
    )
    sent = (await workers.bodies())[0]
    assert sent.pop("messages") == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]
    assert sent == {
        "model": "qwen-small",
        "max_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 3,
        "verbosity": "low",
        "reasoning_effort": "low",
        "user": "somebody",
        "stop": ["wo."],
        "min_p": 0.1,
    }


async def test_settings_are_shown_in_the_response(gateway: Client):
    fields: dict[str, Any] = {
        "instructions": "Be brief.",
        "max_output_tokens": 64,
        "max_tool_calls": 3,
        "temperature": 0.5,
        "top_p": 0.9,
        "metadata": {"team": "spiders"},
        "parallel_tool_calls": False,
        "user": "somebody",
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "truncation": "disabled",
        "tool_choice": "none",
    }
    shown = await answer(gateway, reasoning={"effort": "low"}, store=False, **fields)
    assert {name: shown[name] for name in fields} == fields
    assert shown["reasoning"] == {"effort": "low", "summary": None}
    assert shown["store"] is False
    assert shown["background"] is False


async def test_roles_parts_and_images_become_messages(gateway: Client, workers: Workers):
    image = {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"}
    conversation: list[Any] = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": "What is this?"}, image]},
        {"role": "assistant", "content": "A spider."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Sure?"}]},
    ]
    await answer(gateway, input=conversation)
    assert (await workers.bodies())[0]["messages"] == [
        {"role": "developer", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {
                    "type": "image_url",
                    "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"},
                },
            ],
        },
        {"role": "assistant", "content": "A spider."},
        {"role": "user", "content": "Sure?"},
    ]


async def test_what_the_walk_refuses_is_named_as_the_client_wrote_it(gateway: Client):
    image = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    response = await post(gateway, model="auto", input=[{"role": "user", "content": [image]}])
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "input"


async def test_an_output_can_be_sent_again_as_input(gateway: Client, workers: Workers):
    await workers.small.script(answer={"reasoning": "Let me think.", "text": "Eight."})
    first = await gateway.sdk.responses.create(model="small", input="How many legs?", store=False)
    history: list[Any] = [{"role": "user", "content": "How many legs?"}]
    history += [item.model_dump() for item in first.output]
    history.append({"role": "user", "content": "Sure?"})
    await gateway.sdk.responses.create(model="small", input=history, store=False)
    assert (await workers.bodies())[-1]["messages"] == [
        {"role": "user", "content": "How many legs?"},
        {"role": "assistant", "content": "Eight."},
        {"role": "user", "content": "Sure?"},
    ]


async def test_reasoning_is_an_item_before_the_message(gateway: Client, workers: Workers):
    await workers.small.script(answer={"reasoning": "Let me think.", "text": "Eight."})
    response = await gateway.sdk.responses.create(model="small", input="How many legs?")
    assert [item.type for item in response.output] == ["reasoning", "message"]
    thought: Any = response.output[0]
    assert [part.text for part in thought.summary] == ["Let me think."]
    assert response.output_text == "Eight."


async def test_structured_output_is_parsed_by_the_sdk(gateway: Client, workers: Workers):
    await workers.small.script(answer='{"legs": 8, "name": "Tegenaria"}')
    response = await gateway.sdk.responses.parse(
        model="small", input="A spider, please.", text_format=Spider
    )
    assert response.output_parsed == Spider(legs=8, name="Tegenaria")
    form = (await workers.bodies())[0]["response_format"]
    assert form["type"] == "json_schema"
    assert form["json_schema"]["name"] == "Spider"
    assert form["json_schema"]["strict"] is True
    assert set(form["json_schema"]["schema"]["properties"]) == {"legs", "name"}


@pytest.mark.parametrize(
    ("form", "sent"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "json_object"}),
        (
            {"type": "json_schema", "name": "x", "schema": {"type": "object"}},
            {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
        ),
    ],
)
async def test_formats_reach_the_worker(
    gateway: Client, workers: Workers, form: dict[str, Any], sent: Any
):
    shown = await answer(gateway, text={"format": form})
    assert (await workers.bodies())[0].get("response_format") == sent
    assert shown["text"] == {"format": form}


async def test_an_answer_that_was_cut_off_is_incomplete(gateway: Client):
    response = await gateway.sdk.responses.create(model="small", input="Hi", max_output_tokens=2)
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    message: Any = response.output[0]
    assert message.status == "incomplete"
    assert response.output_text == "word0 word1"


@pytest.mark.parametrize("stream", [False, True])
async def test_log_probabilities_come_when_included(gateway: Client, *, stream: bool):
    wanted: Any = {
        "model": "small",
        "input": "Hi",
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 2,
        "max_output_tokens": 3,
    }
    if stream:
        async with gateway.sdk.responses.stream(**wanted) as events:
            kinds = [event async for event in events]
        response: Any = kinds[-1].response  # type: ignore[union-attr]
    else:
        response = await gateway.sdk.responses.create(**wanted)
    entries = response.output[0].content[0].logprobs
    assert [entry.token for entry in entries] == ["word0", " word1", " word2"]
    assert [len(entry.top_logprobs) for entry in entries] == [2, 2, 2]
    assert entries[0].bytes == list(b"word0")


async def test_log_probabilities_asked_for_our_own_use_are_stripped(
    gateway: Client, workers: Workers
):
    shown = await answer(gateway, model="auto", entroute={"strategy": "cascade"})
    assert (await workers.bodies())[0]["logprobs"] is True
    assert shown["output"][0]["content"][0]["logprobs"] == []


async def test_usage_is_what_the_worker_counted(gateway: Client, workers: Workers):
    before = await generated(workers.small)
    shown = await answer(gateway, input="one two three", entroute={"strategy": "self_consistency"})
    usage = shown["usage"]
    assert usage["entroute"]["completion_tokens"] == await generated(workers.small) - before
    assert usage["entroute"]["calls"] == 5
    assert usage["output_tokens"] == 16
    assert usage["total_tokens"] == usage["input_tokens"] + 16


async def test_the_same_question_costs_the_same_as_a_chat(gateway: Client):
    chat = (await gateway.answer("How many legs?"))["usage"]
    usage = (await answer(gateway, input="How many legs?"))["usage"]
    assert usage["input_tokens"] == chat["prompt_tokens"]
    assert usage["output_tokens"] == chat["completion_tokens"]
    assert usage["entroute"] == chat["entroute"]


async def test_a_chats_cached_answer_serves_a_response(gateway: Client, workers: Workers):
    await gateway.answer("Asked both ways, greedily", temperature=0)
    response = await post(gateway, input="Asked both ways, greedily", temperature=0)
    assert response.headers["x-entroute-cache"] == "exact"
    assert response.json()["usage"]["entroute"]["calls"] == 0
    assert len(await workers.bodies()) == 1


async def test_auto_walks_as_for_chat(gateway: Client, workers: Workers):
    await workers.small.script(certainty=PROBED_HARD, tokens=60)
    response = await post(gateway, input=OPEN, model="auto")
    assert response.headers["x-entroute-strategy"] == "single"
    assert response.headers["x-entroute-tier"] == "large"
    assert response.json()["model"] == "qwen-large"


async def test_options_come_in_the_body_or_as_headers(gateway: Client, workers: Workers):
    shown = await answer(gateway, entroute={"strategy": "self_consistency", "explain": True})
    assert shown["entroute"]["strategy"] == "self_consistency"
    assert len(shown["entroute"]["candidates"]) >= 3
    response = await post(gateway, headers={"x-entroute-strategy": "self_consistency"})
    assert response.headers["x-entroute-strategy"] == "self_consistency"
    assert "entroute" not in response.json()
    assert "entroute" not in (await answer(gateway))


async def test_responses_are_counted_as_an_endpoint_of_their_own(gateway: Client):
    labels = {"endpoint": "responses", "outcome": "ok"}
    before = await gateway.sample("entroute_requests_total", **labels)
    await answer(gateway)
    assert await gateway.sample("entroute_requests_total", **labels) == before + 1


async def test_a_worker_that_fails_keeps_its_status(gateway: Client, workers: Workers):
    for stream in (False, True):
        await workers.small.script(failure={"kind": "status", "status": 500})
        response = await post(gateway, stream=stream)
        assert response.status_code == 502
        assert response.json()["error"]["code"] == "upstream_error"


async def test_openapi_describes_every_path(gateway: Client):
    document = (await gateway.get("/openapi.json")).json()
    below = "/v1/responses/{response_id}"
    assert {name: set(document["paths"][name]) for name in document["paths"] if below in name} == {
        below: {"get", "delete"},
        f"{below}/input_items": {"get"},
        f"{below}/cancel": {"post"},
    }
    schema = document["components"]["schemas"]["ResponseBody"]
    validator = Draft202012Validator({**schema, "components": document["components"]})
    validator.validate({"model": "auto", "input": [{"role": "user", "content": "Hi"}]})
    assert not validator.is_valid({"model": "auto"})
    assert not validator.is_valid({"model": "auto", "input": []})
    assert "422" not in str(document)
