"""Functions of the client's: offered, called, answered, and a conversation that goes on."""

from typing import Any

import pytest

from tests.api.conftest import Client, Workers
from tests.api.responses.conftest import WEATHER, answer, events, post

pytestmark = pytest.mark.asyncio(loop_scope="session")

TIME: dict[str, Any] = {"type": "function", "name": "time", "parameters": None, "strict": None}
CALL = {"name": "weather", "arguments": {"city": "Oslo"}}


def chat_tool(tool: dict[str, Any]) -> dict[str, Any]:
    known = {name: value for name, value in tool.items() if name != "type" and value is not None}
    return {"type": "function", "function": known}


async def test_functions_are_offered_as_the_chats_tools(gateway: Client, workers: Workers):
    shown = await answer(gateway, tools=[WEATHER, TIME], parallel_tool_calls=False)
    sent = (await workers.bodies())[0]
    assert sent["tools"] == [chat_tool(WEATHER), chat_tool(TIME)]
    assert sent["parallel_tool_calls"] is False
    assert "tool_choice" not in sent
    assert [tool["name"] for tool in shown["tools"]] == ["weather", "time"]
    assert shown["tool_choice"] == "auto"


@pytest.mark.parametrize(
    ("choice", "sent", "offered"),
    [
        ("required", "required", ["weather", "time"]),
        ("none", "none", ["weather", "time"]),
        (
            {"type": "function", "name": "time"},
            {"type": "function", "function": {"name": "time"}},
            ["weather", "time"],
        ),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "time"}],
            },
            "required",
            ["time"],
        ),
    ],
    ids=str,
)
async def test_choices_among_tools_reach_the_worker(
    gateway: Client, workers: Workers, choice: Any, sent: Any, offered: list[str]
):
    shown = await answer(gateway, tools=[WEATHER, TIME], tool_choice=choice)
    body = (await workers.bodies())[0]
    assert body["tool_choice"] == sent
    assert [tool["function"]["name"] for tool in body["tools"]] == offered
    assert shown["tool_choice"] == choice


async def test_calls_are_items_of_their_own(gateway: Client, workers: Workers):
    await workers.small.script(answer={"tool_calls": [CALL, CALL]})
    tools: Any = [WEATHER]
    response = await gateway.sdk.responses.create(model="small", input="Weather?", tools=tools)
    calls: list[Any] = list(response.output)
    assert [call.type for call in calls] == ["function_call", "function_call"]
    assert {call.name for call in calls} == {"weather"}
    assert calls[0].arguments == '{"city": "Oslo"}'
    assert len({call.call_id for call in calls}) == 2
    assert response.status == "completed"


async def test_arguments_stream_in_pieces(gateway: Client, workers: Workers):
    await workers.small.script(answer={"tool_calls": [CALL, CALL]})
    stream = await events(gateway, tools=[WEATHER])
    pieces = stream.of("response.function_call_arguments.delta")
    assert len(pieces) > 4
    for index in (0, 1):
        own = "".join(e["delta"] for e in pieces if e["output_index"] == index)
        assert own == '{"city": "Oslo"}'
    assert not stream.of("response.output_text.delta")


async def test_the_sdks_stream_helper_puts_calls_together(gateway: Client, workers: Workers):
    await workers.small.script(answer={"tool_calls": [CALL]})
    tools: Any = [WEATHER]
    async with gateway.sdk.responses.stream(model="small", input="Weather?", tools=tools) as stream:
        final = await stream.get_final_response()
    call: Any = final.output[0]
    assert call.arguments == '{"city": "Oslo"}'


@pytest.mark.parametrize("stream", [False, True])
async def test_a_round_trip_with_previous_response_id(
    gateway: Client, workers: Workers, *, stream: bool
):
    await workers.small.script(answer={"text": "Let me look.", "tool_calls": [CALL]})
    asked: dict[str, Any] = {"input": "Weather in Oslo?", "tools": [WEATHER], "instructions": "A"}
    if stream:
        first = (await events(gateway, **asked)).last
    else:
        first = await answer(gateway, **asked)
    call = next(item for item in first["output"] if item["type"] == "function_call")
    await workers.small.script(answer="Sunny.")
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "sun"}
    second = await answer(gateway, input=[output], previous_response_id=first["id"])
    assert second["output"][0]["content"][0]["text"] == "Sunny."
    assert second["previous_response_id"] == first["id"]
    function = {"name": "weather", "arguments": '{"city": "Oslo"}'}
    assert (await workers.bodies())[-1]["messages"] == [
        {"role": "user", "content": "Weather in Oslo?"},
        {
            "role": "assistant",
            "content": "Let me look.",
            "tool_calls": [{"id": call["call_id"], "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": call["call_id"], "content": "sun"},
    ]


async def test_a_call_that_nobody_answered_is_refused(gateway: Client, workers: Workers):
    await workers.small.script(answer={"tool_calls": [CALL]})
    first = await answer(gateway, tools=[WEATHER])
    response = await post(gateway, input="And?", previous_response_id=first["id"])
    assert response.status_code == 400
    assert "No tool output found" in response.json()["error"]["message"]
    assert response.json()["error"]["param"] == "input"


async def test_parts_of_a_functions_output_are_joined(gateway: Client, workers: Workers):
    parts = [{"type": "input_text", "text": "sun"}, {"type": "input_text", "text": "wind"}]
    conversation: list[Any] = [
        {"role": "user", "content": "Weather?"},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": parts},
    ]
    await answer(gateway, input=conversation)
    assert (await workers.bodies())[0]["messages"][-1]["content"] == "sun\nwind"
