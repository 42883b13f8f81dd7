"""The client of a worker against a real fake worker process."""

import asyncio
import math
from contextlib import aclosing

import pytest

from entroute.types import ChatRequest, chosen_logprob, top_logprobs
from loadtest.spawn import FakeWorker
from tests.builders import a_request, read
from tests.workers import Connect, ask, both, call_by, generated, running


async def test_a_stream_is_deltas_then_one_signed_completion(
    worker: FakeWorker, connect: Connect
) -> None:
    await worker.script(answer="It has eight legs.")
    deltas, completion = await read(connect(worker.url).stream(call_by()))
    assert [delta.content for delta in deltas] == ["It", " has", " eight", " legs", "."]
    assert all(delta.tier == "small" for delta in deltas)
    assert completion.content == "It has eight legs."
    assert (completion.finish_reason, completion.model) == ("stop", "small")
    assert (completion.tier, completion.worker) == ("small", f"{worker.url}/v1")
    assert completion.usage.completion_tokens == 5
    assert completion.usage.calls == 1
    assert completion.usage.partial_calls == 0
    assert 0 < completion.ttft_s <= completion.latency_s


async def test_a_whole_answer_is_the_same_as_its_stream(
    worker: FakeWorker, connect: Connect
) -> None:
    await worker.script(answer="It has eight legs.")
    client = connect(worker.url)
    whole = await client.complete(call_by())
    _, streamed = await read(client.stream(call_by()))
    assert (whole.content, whole.finish_reason) == (streamed.content, streamed.finish_reason)
    assert whole.usage.completion_tokens == streamed.usage.completion_tokens
    assert whole.ttft_s == whole.latency_s > 0


async def test_every_delta_tells_the_usage_so_far(worker: FakeWorker, connect: Connect) -> None:
    await worker.script(answer="It has eight legs.")
    deltas, completion = await read(connect(worker.url).stream(call_by()))
    so_far = [delta.usage for delta in deltas]
    assert [usage and usage.completion_tokens for usage in so_far] == [1, 2, 3, 4, 5]
    assert {usage and usage.prompt_tokens for usage in so_far} == {completion.usage.prompt_tokens}


async def test_a_repeated_prompt_is_read_from_the_workers_cache(
    worker: FakeWorker, connect: Connect
) -> None:
    client, request = connect(worker.url), a_request("cached " * 64)
    await client.complete(call_by(request=request))
    again = await client.complete(call_by(request=request))
    assert 0 < again.usage.cached_tokens <= again.usage.prompt_tokens


@both
@pytest.mark.parametrize("prompt", [None, "6 times 7 is"])
async def test_log_probabilities_come_in_one_shape_from_both_endpoints(
    worker: FakeWorker,
    connect: Connect,
    stream: bool,  # noqa: FBT001
    prompt: str | None,
) -> None:
    await worker.script(answer="forty two", certainty=[0.8, 0.4])
    request = a_request() if prompt is None else ChatRequest(model="auto", prompt=prompt)
    completion = await ask(
        connect(worker.url), call_by(request=request, top_logprobs=3), stream=stream
    )
    assert [entry["token"] for entry in completion.logprobs] == ["forty", " two"]
    assert [chosen_logprob(entry) for entry in completion.logprobs] == pytest.approx(
        [math.log(0.8), math.log(0.4)]
    )
    assert all(len(top_logprobs(entry)) == 3 for entry in completion.logprobs)
    assert top_logprobs(completion.logprobs[0])[0] == pytest.approx(math.log(0.8))


@both
async def test_tool_calls_and_reasoning_arrive_whole(
    worker: FakeWorker,
    connect: Connect,
    stream: bool,  # noqa: FBT001
) -> None:
    answer = {
        "text": "",
        "reasoning": "look it up",
        "tool_calls": [{"name": "weather", "arguments": {"city": "Oslo"}}],
    }
    await worker.script(answer=answer)
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
    request = a_request(extra={"tools": tools})
    completion = await ask(connect(worker.url), call_by(request=request), stream=stream)
    (tool_call,) = completion.tool_calls
    assert tool_call["function"] == {"name": "weather", "arguments": '{"city": "Oslo"}'}
    assert tool_call["id"]
    assert completion.extra["reasoning_content"] == "look it up"
    assert (completion.content, completion.finish_reason) == ("", "tool_calls")


async def test_the_key_and_the_cap_reach_the_worker(worker: FakeWorker, connect: Connect) -> None:
    client = connect(worker.url, api_key="k-1")
    completion = await client.complete(call_by(max_tokens=3))
    (received,) = await worker.requests()
    assert received["headers"]["authorization"] == "Bearer k-1"
    assert received["body"]["max_tokens"] == completion.usage.completion_tokens == 3
    assert completion.finish_reason == "length"


async def test_closing_a_stream_cancels_it_upstream(worker: FakeWorker, connect: Connect) -> None:
    await worker.script(tokens=400, tokens_per_second=100)
    client = connect(worker.url)
    before = await generated(worker)
    async with aclosing(client.stream(call_by())) as pieces:
        async for _ in pieces:
            await running(worker, 1)
            assert client.in_flight == 1
            break
    assert client.in_flight == 0
    await running(worker, 0)
    assert await generated(worker) - before < 200


@both
async def test_cancelling_a_call_cancels_it_upstream(
    worker: FakeWorker,
    connect: Connect,
    stream: bool,  # noqa: FBT001
) -> None:
    await worker.script(ttft_ms=5000)
    client = connect(worker.url)
    task = asyncio.create_task(ask(client, call_by(), stream=stream))
    await running(worker, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await running(worker, 0)
    assert client.in_flight == 0


async def test_connections_are_kept_from_call_to_call(worker: FakeWorker, connect: Connect) -> None:
    client = connect(worker.url)
    for _ in range(3):
        await read(client.stream(call_by()))
        await client.complete(call_by())
    assert client._session.connector is not None
    assert len(client._session.connector._conns) == 1
    assert sum(map(len, client._session.connector._conns.values())) == 1
