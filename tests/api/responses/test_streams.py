"""Streamed responses: typed events that end well, with the answer as it is made."""

import asyncio
import json
import time
from typing import Any

import httpx
import pytest

from tests.api.conftest import Client, Serve, Workers, eventually
from tests.api.responses.conftest import WEATHER, answer, events, post
from tests.responses_wire import check_stream

pytestmark = pytest.mark.asyncio(loop_scope="session")

TEXT_EVENTS = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


def without_repeats(kinds: list[str]) -> list[str]:
    return [kind for place, kind in enumerate(kinds) if kinds[place - 1 : place] != [kind]]


async def test_events_come_in_openais_order(gateway: Client, workers: Workers):
    await workers.small.script(answer="It has eight legs.")
    stream = await events(gateway)
    assert without_repeats(stream.types) == TEXT_EVENTS
    assert stream.types.count("response.output_text.delta") == 5
    assert stream.text == "It has eight legs."


async def test_the_sdks_stream_helper_reads_it(gateway: Client, workers: Workers):
    await workers.small.script(answer="It has eight legs.")
    async with gateway.sdk.responses.stream(model="small", input="How many legs?") as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_response()
    assert without_repeats(list(kinds)) == TEXT_EVENTS
    assert final.output_text == "It has eight legs."


async def test_the_sdks_raw_stream_reads_it(gateway: Client, workers: Workers):
    await workers.small.script(answer="It has eight legs.")
    stream = await gateway.sdk.responses.create(model="small", input="How many legs?", stream=True)
    pieces = [e.delta async for e in stream if e.type == "response.output_text.delta"]
    assert "".join(pieces) == "It has eight legs."


async def test_a_stream_says_what_the_whole_answer_says(gateway: Client, workers: Workers):
    scripts: list[Any] = [
        "Eight.",
        {"reasoning": "Let me think.", "text": "Eight."},
        {"tool_calls": [{"name": "weather", "arguments": {"city": "Oslo"}}]},
        {"text": "Let me look.", "tool_calls": [{"name": "weather", "arguments": {}}] * 2},
        {"reasoning": "Hm.", "text": ""},
    ]
    for script in scripts:
        await workers.small.script(answer=script)
        whole = await answer(gateway, tools=[WEATHER])
        streamed = (await events(gateway, tools=[WEATHER])).last
        assert [plain(item) for item in streamed["output"]] == [
            plain(item) for item in whole["output"]
        ]
        same = ("status", "tools", "text", "store", "model")
        assert {n: streamed[n] for n in same} == {n: whole[n] for n in same}


def plain(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in {"id", "call_id"}}


async def test_voted_answers_are_streamed_whole_after_keep_alives(
    gateway: Client, workers: Workers
):
    await workers.small.script(ttft_ms=1500, answer="The answer is 4.")
    stream = await events(gateway, entroute={"strategy": "self_consistency"})
    assert stream.comments >= 2
    assert stream.text == "The answer is 4."
    assert stream.types[-1] == "response.completed"
    assert stream.last["entroute"]["strategy"] == "self_consistency"


async def test_pieces_arrive_while_others_are_made(gateway: Client, workers: Workers):
    await workers.small.script(tokens=20, tokens_per_second=20)
    stream = await gateway.sdk.responses.create(model="small", input="Hi", stream=True)
    times = [time.perf_counter() async for e in stream if e.type == "response.output_text.delta"]
    assert len(times) == 20
    assert times[-1] - times[0] > 0.5


async def test_reasoning_streams_as_a_summary(gateway: Client, workers: Workers):
    await workers.small.script(answer={"reasoning": "Let me think.", "text": "Eight."})
    stream = await events(gateway)
    thought = [e["delta"] for e in stream.of("response.reasoning_summary_text.delta")]
    assert "".join(thought) == "Let me think."
    first_text = stream.types.index("response.output_text.delta")
    assert stream.types.index("response.reasoning_summary_text.done") < first_text


async def test_final_values_are_in_the_last_event(gateway: Client):
    stream = await events(gateway, max_output_tokens=2)
    assert stream.types[-1] == "response.incomplete"
    assert stream.last["usage"]["output_tokens"] == 2
    assert stream.last["entroute"]["usage"]["calls"] == 1
    assert stream.events[0]["response"]["usage"] is None
    assert len({(e["response"]["id"], e["response"]["model"]) for e in stream.events[:2]}) == 1
    assert stream.events[0]["response"]["id"] == stream.last["id"]


async def test_obfuscation_may_be_asked_for_and_is_not_sent(gateway: Client):
    stream = await events(gateway, stream_options={"include_obfuscation": True})
    assert all("obfuscation" not in event for event in stream.events)


@pytest.mark.parametrize("kind", ["reset", "close", "malformed", "truncated"])
async def test_a_worker_that_fails_in_mid_stream_fails_the_response(
    gateway: Client, workers: Workers, kind: str
):
    failure = {"kind": kind, "after_tokens": 3, "times": 1}
    await workers.small.script(failure=failure, tokens_per_second=50)
    response = await post(gateway, stream=True)
    stream = check_stream(response.text)
    assert stream.types[-2:] == ["error", "response.failed"]
    assert stream.events[-2]["code"] == "upstream_error"
    assert stream.last["status"] == "failed"
    assert stream.last["error"]["code"] == "server_error"
    # A reset may overtake the last token on its way.
    assert stream.last["output"][0]["content"][0]["text"] in {"word0 word1 word2", "word0 word1"}
    assert stream.last["output"][0]["status"] == "incomplete"
    assert workers.small.url not in response.text
    gone = await gateway.get(f"/v1/responses/{stream.last['id']}")
    assert gone.status_code == 404


async def test_the_sdks_stream_helper_tells_a_failure(gateway: Client, workers: Workers):
    await workers.small.script(failure={"kind": "close", "after_tokens": 3, "times": 1})
    async with gateway.sdk.responses.stream(model="small", input="Hi") as stream:
        seen = [event async for event in stream]
    assert [event.type for event in seen[-2:]] == ["error", "response.failed"]


async def test_a_slow_failure_after_a_keep_alive_is_told_in_events(
    gateway: Client, workers: Workers
):
    await workers.small.script(ttft_ms=5000)
    options = {"strategy": "self_consistency", "budget": {"deadline_ms": 1500}}
    stream = await events(gateway, entroute=options)
    assert stream.comments >= 1
    assert stream.types == [
        "response.created",
        "response.in_progress",
        "error",
        "response.failed",
    ]
    assert stream.events[2]["code"] == "deadline_exceeded"


async def test_a_client_that_leaves_cancels_its_call_and_keeps_nothing(
    serve: Serve, workers: Workers
):
    gateway = await serve()
    await workers.small.script(tokens=2000, tokens_per_second=100)
    body = json.dumps({"model": "small", "input": "Hi", "stream": True})
    async with gateway.http.stream(
        "POST",
        f"{gateway.url}/v1/responses",
        content=body,
        headers={"content-type": "application/json"},
    ) as response:
        seen = 0
        async for line in response.aiter_lines():
            seen += line == "event: response.output_text.delta"
            if seen == 5:
                break
    assert await eventually(lambda: running(workers), 0, within_s=5)
    cancelled = {"outcome": "cancelled", "endpoint": "responses"}
    assert await eventually(
        lambda: gateway.sample("entroute_requests_total", **cancelled), 1, within_s=5
    )
    assert await gateway.sample("entroute_stored_responses_total", result="kept") == 0


async def test_leaving_before_the_answer_cancels_every_call(gateway: Client, workers: Workers):
    await workers.small.script(tokens=2000, tokens_per_second=100, ttft_ms=3000)
    asking = asyncio.create_task(post(gateway, entroute={"strategy": "self_consistency"}))
    assert await eventually(lambda: running(workers), 5, within_s=5)
    asking.cancel()
    await asyncio.wait([asking])
    assert await eventually(lambda: running(workers), 0, within_s=5)


async def running(workers: Workers) -> float:
    return (await workers.small.metrics())["vllm:num_requests_running"]


async def test_a_stream_can_be_gone_on_from_as_soon_as_it_ends(
    gateway: Client, http: httpx.AsyncClient, workers: Workers
):
    last = ""
    async with http.stream(
        "POST",
        f"{gateway.url}/v1/responses",
        json={"model": "small", "input": "One", "stream": True},
    ) as response:
        async for line in response.aiter_lines():
            if line.startswith('data: {"type":"response.completed"'):
                last = json.loads(line.removeprefix("data: "))["response"]["id"]
                found = await gateway.get(f"/v1/responses/{last}")
                assert found.status_code == 200
    await answer(gateway, input="Two", previous_response_id=last)
    said = [message["content"] for message in (await workers.bodies())[-1]["messages"]]
    assert (said[0], said[-1]) == ("One", "Two")
