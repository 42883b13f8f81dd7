"""LangChain's client of the Responses API, which nobody here wrote."""

from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from tests.api.conftest import Client, Workers

pytestmark = pytest.mark.asyncio(loop_scope="session")

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}
CALL = {"name": "weather", "arguments": {"city": "Oslo"}}


def model_of(gateway: Client, **fields: Any) -> ChatOpenAI:
    return ChatOpenAI(
        model="small",
        base_url=f"{gateway.url}/v1",
        api_key=SecretStr("unused"),
        max_retries=0,
        use_responses_api=True,
        output_version="responses/v1",
        http_async_client=gateway.http,
        **fields,
    )


async def test_an_answer_and_its_usage_are_read(gateway: Client, workers: Workers):
    await workers.small.script(answer="It has eight legs.")
    answer = await model_of(gateway).ainvoke("How many legs?")
    assert answer.text == "It has eight legs."
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == 5
    assert answer.response_metadata["model_name"] == "qwen-small"


@pytest.mark.parametrize("by_id", [False, True])
async def test_tools_are_streamed_called_and_answered(
    gateway: Client, workers: Workers, *, by_id: bool
):
    script = {"reasoning": "Hm.", "text": "Let me look.", "tool_calls": [CALL]}
    await workers.small.script(answer=script)
    model = model_of(gateway, use_previous_response_id=by_id).bind_tools([WEATHER])
    asked: list[Any] = [HumanMessage("Weather in Oslo?")]
    said: Any = AIMessageChunk(content="")
    async for chunk in model.astream(asked):
        said += chunk
    assert [(call["name"], call["args"]) for call in said.tool_calls] == [
        ("weather", {"city": "Oslo"})
    ]
    await workers.small.script(answer="Sunny.")
    call_id = said.tool_calls[0]["id"]
    answer = await model.ainvoke([*asked, said, ToolMessage("sun", tool_call_id=call_id)])
    assert answer.text == "Sunny."
    function = {"name": "weather", "arguments": '{"city": "Oslo"}'}
    assert (await workers.bodies())[-1]["messages"] == [
        {"role": "user", "content": "Weather in Oslo?"},
        {
            "role": "assistant",
            "content": "Let me look.",
            "tool_calls": [{"id": call_id, "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": call_id, "content": "sun"},
    ]
