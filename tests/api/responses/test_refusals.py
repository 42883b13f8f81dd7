"""What `/v1/responses` refuses: 400 in OpenAI's shape, the field named, nothing spent."""

from typing import Any

import openai
import pytest

from tests.api.conftest import Client, Serve, Workers
from tests.api.responses.conftest import WEATHER, post

pytestmark = pytest.mark.asyncio(loop_scope="session")

OUTPUT = {"type": "function_call_output", "call_id": "c", "output": "x"}
SCHEMA = {"type": "json_schema", "name": "x", "schema": {}}


def message(*parts: dict[str, Any], role: str = "user") -> list[Any]:
    return [{"role": role, "content": list(parts)}]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": None}, "input"),
        ({"input": 3}, "input"),
        ({"input": [3]}, "input.0"),
        ({"input": [{"role": "user"}]}, "input.0.content"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input.0.role"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input.0.type"),
        ({"input": [{"type": "computer_call", "id": "c"}]}, "input.0.type"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input.0.call_id"),
        ({"input": [OUTPUT]}, "input"),
        ({"input": [{**OUTPUT, "output": [{"type": "input_image"}]}]}, "input.0.output.0.type"),
        ({"input": message({"type": "text", "text": "x"})}, "input.0.content.0.type"),
        ({"input": message({"type": "input_file", "file_id": "f"})}, "input.0.content.0.type"),
        ({"input": message({"type": "input_text"})}, "input.0.content.0.text"),
        ({"input": message({"type": "refusal", "refusal": "x"})}, "input.0.content.0.type"),
        (
            {"input": message({"type": "input_image", "file_id": "f"})},
            "input.0.content.0.image_url",
        ),
        ({"input": message({"type": ["input_text"]})}, "input.0.content.0.type"),
        ({"input": [{"type": {}, "role": []}]}, "input.0.role"),
        ({"input": [{"type": []}]}, "input.0.role"),
        ({"input": [{"type": [1]}]}, "input.0.type"),
        ({"model": ""}, "model"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": "7"}, "max_output_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"include": ["file_search_call.results"]}, "include.0"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"metadata": {str(n): "x" for n in range(17)}}, "metadata"),
        ({"store": "yes"}, "store"),
        ({"truncation": "auto"}, "truncation"),
        ({"truncation": "maybe"}, "truncation"),
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"context_management": [{"type": "compaction"}]}, "context_management"),
        ({"n": 2}, "n"),
        ({"messages": []}, "messages"),
        ({"max_tokens": 3}, "max_tokens"),
        ({"response_format": SCHEMA}, "response_format"),
        ({"reasoning": {"mode": "pro"}}, "reasoning.mode"),
        ({"reasoning": {"nonsense": [1]}}, "reasoning.nonsense"),
        ({"text": {"nonsense": {}}}, "text.nonsense"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type"),
        ({"text": {"format": {**SCHEMA, "name": "a b"}}}, "text.format.name"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
        ({"text": {"verbosity": "loud"}}, "text.verbosity"),
        ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
        ({"tools": [WEATHER, {"type": "mcp", "server_label": "x"}]}, "tools.1.type"),
        ({"tools": [{"type": "custom", "name": "x"}]}, "tools.0.type"),
        ({"tools": [{"type": "function"}]}, "tools.0.name"),
        ({"tools": [{**WEATHER, "defer_loading": True}]}, "tools.0.defer_loading"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": "maybe"}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "web_search"}}, "tool_choice.type"),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "function", "name": "x"}},
            "tool_choice.name",
        ),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "allowed_tools", "mode": []}},
            "tool_choice.mode",
        ),
        ({"tools": [{"type": []}]}, "tools.0.type"),
        ({"text": {"format": {"type": []}}}, "text.format.type"),
        ({"cache_salt": "x"}, "cache_salt"),
        ({"entroute": {"nonsense": 1}}, "entroute.nonsense"),
        ({"entroute": {"strategy": "nonsense"}}, "entroute.strategy"),
        ({"previous_response_id": ""}, "previous_response_id"),
    ],
    ids=str,
)
async def test_what_cannot_be_honoured_is_refused_by_name(
    gateway: Client, workers: Workers, fields: dict[str, Any], param: str
):
    for stream in (False, True):
        response = await post(gateway, **fields, stream=stream)
        assert response.status_code == 400, response.text
        error = response.json()["error"]
        assert error["type"] == "invalid_request_error"
        assert error["param"] == param
    assert await workers.bodies() == []


@pytest.mark.parametrize(
    "fields",
    [
        {"background": False},
        {"conversation": None},
        {"truncation": None},
        {"reasoning": {"mode": "standard", "context": None}, "text": {"format": None}},
        {"include": ["reasoning.encrypted_content"]},
        {"tools": [{**WEATHER, "defer_loading": False}]},
        {"tools": [], "tool_choice": "auto"},
        {"max_tool_calls": 1},
        {"service_tier": "auto"},
        {"prompt_cache_retention": "24h"},
        {"input": ""},
        {"top_logprobs": 0},
    ],
    ids=str,
)
async def test_what_changes_nothing_is_accepted(gateway: Client, fields: dict[str, Any]):
    assert (await post(gateway, **fields)).status_code == 200


async def test_an_unknown_model_is_404(gateway: Client):
    with pytest.raises(openai.NotFoundError):
        await gateway.sdk.responses.create(model="nonsense", input="Hi")


async def test_an_unknown_previous_response_has_openais_code(gateway: Client):
    for name in ("resp_" + "0" * 32, "resp_1", "../../x", "x y\n"):
        with pytest.raises(openai.BadRequestError) as raised:
            await gateway.sdk.responses.create(model="small", input="Hi", previous_response_id=name)
        assert raised.value.code == "previous_response_not_found"
        assert raised.value.param == "previous_response_id"


async def test_private_fields_pass_when_the_operator_allows_them(serve: Serve, workers: Workers):
    gateway = await serve(allow_fields=["priority"])
    assert (await post(gateway, priority=3)).status_code == 200
    assert (await workers.bodies())[0]["priority"] == 3


async def test_a_body_that_is_no_object_is_refused(gateway: Client):
    for content in (b"[]", b"nonsense", b""):
        response = await gateway.http.post(
            f"{gateway.url}/v1/responses",
            content=content,
            headers={"content-type": "application/json"},
        )
        assert response.status_code == 400
