"""The client of a worker against a real fake worker process."""

import asyncio
import math
import socket
import time
from contextlib import aclosing
from typing import Any

import pytest

from entroute.backends.worker import Timeouts, Worker, error_of
from entroute.errors import (
    DeadlineExceeded,
    WorkerBusy,
    WorkerError,
    WorkerFailed,
    WorkerMisconfigured,
    WorkerProtocolError,
    WorkerRejected,
    WorkerTimeout,
    WorkerUnavailable,
)
from entroute.spending import Usage
from entroute.types import Call, ChatRequest, Completion, Delta, chosen_logprob, top_logprobs
from loadtest.spawn import FakeWorker, fake_worker
from tests.fakes import a_call, a_request, read
from tests.workers import Connect, generated, running

FIRST = Timeouts(connect_s=2, first_token_s=0.15)
BETWEEN = Timeouts(connect_s=2, between_tokens_s=0.15)
BRIEF = Timeouts(connect_s=2, total_s=0.15)


def call_by(deadline_s: float = 10, **facts: Any) -> Call:
    return a_call(facts.pop("request", None), deadline=time.perf_counter() + deadline_s, **facts)


async def ask(worker: Worker, call: Call, *, stream: bool) -> Completion:
    if not stream:
        return await worker.complete(call)
    _, completion = await read(worker.stream(call))
    return completion


both = pytest.mark.parametrize("stream", [True, False])


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


@pytest.mark.parametrize(
    ("timeouts", "failure", "phase"),
    [
        (FIRST, {"kind": "hang"}, "first_token"),
        (BETWEEN, {"kind": "stall", "after_tokens": 2}, "between_tokens"),
        (BRIEF, {"kind": "hang"}, "total"),
        (BRIEF, {"kind": "stall", "after_tokens": 2}, "total"),
    ],
)
async def test_a_slow_stream_times_out_in_its_phase(
    worker: FakeWorker,
    connect: Connect,
    timeouts: Timeouts,
    failure: dict[str, Any],
    phase: str,
) -> None:
    await worker.script(failure=failure)
    with pytest.raises(WorkerTimeout) as caught:
        await read(connect(worker.url, timeouts=timeouts).stream(call_by()))
    assert caught.value.phase == phase
    assert caught.value.worker == f"{worker.url}/v1"
    await running(worker, 0)


async def test_a_stream_that_goes_on_too_long_times_out_in_total(
    worker: FakeWorker, connect: Connect
) -> None:
    await worker.script(tokens=1000, tokens_per_second=100)
    with pytest.raises(WorkerTimeout) as caught:
        await read(connect(worker.url, timeouts=BRIEF).stream(call_by()))
    assert caught.value.phase == "total"
    await running(worker, 0)


async def test_a_slow_whole_answer_times_out_in_total(worker: FakeWorker, connect: Connect) -> None:
    await worker.script(ttft_ms=5000)
    with pytest.raises(WorkerTimeout) as caught:
        await connect(worker.url, timeouts=BRIEF).complete(call_by())
    assert caught.value.phase == "total"
    await running(worker, 0)


@both
async def test_a_server_that_accepts_nobody_times_out_in_connect(
    connect: Connect,
    stream: bool,  # noqa: FBT001
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        address = server.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)  # noqa: FBT003
            one.connect_ex(address)
        with pytest.raises(WorkerTimeout) as caught:
            await ask(connect(f"http://127.0.0.1:{address[1]}"), call_by(), stream=stream)
        assert caught.value.phase == "connect"
        for one in waiting:
            one.close()


@both
async def test_the_requests_deadline_is_no_fault_of_the_worker(
    worker: FakeWorker,
    connect: Connect,
    stream: bool,  # noqa: FBT001
) -> None:
    await worker.script(failure={"kind": "hang"})
    with pytest.raises(DeadlineExceeded):
        await ask(connect(worker.url), call_by(0.15), stream=stream)
    await running(worker, 0)


STATUSES = [
    (401, None, WorkerMisconfigured),
    (403, None, WorkerMisconfigured),
    (404, None, WorkerMisconfigured),
    (405, None, WorkerMisconfigured),
    (408, None, WorkerBusy),
    (429, 7, WorkerBusy),
    (429, None, WorkerBusy),
    (503, 7, WorkerBusy),
    (503, None, WorkerFailed),
    (500, None, WorkerFailed),
    (502, None, WorkerFailed),
    (302, None, WorkerFailed),
]


@both
@pytest.mark.parametrize(("status", "retry_after_s", "error"), STATUSES)
async def test_a_status_becomes_the_error_it_means(
    worker: FakeWorker,
    connect: Connect,
    stream: bool,  # noqa: FBT001
    status: int,
    retry_after_s: float | None,
    error: type[WorkerError],
) -> None:
    failure = {"kind": "status", "status": status}
    if retry_after_s is not None:
        failure["retry_after_s"] = retry_after_s
    await worker.script(failure=failure)
    with pytest.raises(WorkerError, match=str(status)) as caught:
        await ask(connect(worker.url), call_by(), stream=stream)
    assert type(caught.value) is error
    assert caught.value.worker == f"{worker.url}/v1"
    if isinstance(caught.value, WorkerBusy):
        assert caught.value.retry_after_s == (retry_after_s or 1)


async def test_a_wrong_key_and_a_wrong_model_are_the_operators_fault(connect: Connect) -> None:
    async with fake_worker(model="small", api_key="right") as guarded:
        with pytest.raises(WorkerMisconfigured, match="401"):
            await connect(guarded.url, api_key="wrong").complete(call_by())
        with pytest.raises(WorkerMisconfigured, match="404"):
            await connect(guarded.url, api_key="right", model="large").complete(call_by())


@both
async def test_a_prompt_that_is_too_long_is_rejected_as_such(
    worker: FakeWorker,
    connect: Connect,
    stream: bool,  # noqa: FBT001
) -> None:
    call = call_by(request=a_request("word " * 600))
    with pytest.raises(WorkerRejected) as caught:
        await ask(connect(worker.url), call, stream=stream)
    assert caught.value.out_of_context
    assert caught.value.status == 400
    assert "maximum context length" in caught.value.message


async def test_what_is_wrong_with_the_request_is_said_in_the_workers_words(
    worker: FakeWorker, connect: Connect
) -> None:
    request = a_request(extra={"continue_final_message": True})
    with pytest.raises(WorkerRejected) as caught:
        await connect(worker.url).complete(call_by(request=request))
    assert not caught.value.out_of_context
    assert (caught.value.status, caught.value.param) == (400, "continue_final_message")
    assert "add_generation_prompt" in caught.value.message


@pytest.mark.parametrize(
    ("kind", "after", "error"),
    [
        ("malformed", 1, WorkerProtocolError),
        ("truncated", 2, WorkerProtocolError),
        ("reset", 2, WorkerUnavailable),
        ("close", 2, WorkerUnavailable),
        ("refuse", 0, WorkerUnavailable),
    ],
)
async def test_a_broken_stream_ends_in_an_error_after_what_was_made(
    worker: FakeWorker, connect: Connect, kind: str, after: int, error: type[WorkerError]
) -> None:
    await worker.script(answer="It has eight legs.", failure={"kind": kind, "after_tokens": after})
    client = connect(worker.url)
    pieces = []
    with pytest.raises(WorkerError) as caught:
        async with aclosing(client.stream(call_by())) as stream:
            async for piece in stream:
                pieces.append(piece)  # noqa: PERF401 - what came before the error counts
    assert type(caught.value) is error
    assert str(caught.value).startswith(f"worker {worker.url}/v1: ")
    assert len(pieces) == after
    assert all(isinstance(piece, Delta) for piece in pieces)
    assert client.in_flight == 0


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("malformed", WorkerProtocolError),
        ("reset", WorkerUnavailable),
        ("close", WorkerUnavailable),
        ("refuse", WorkerUnavailable),
    ],
)
async def test_a_broken_whole_answer_is_an_error(
    worker: FakeWorker, connect: Connect, kind: str, error: type[WorkerError]
) -> None:
    await worker.script(failure={"kind": kind, "after_tokens": 3})
    client = connect(worker.url)
    with pytest.raises(WorkerError) as caught:
        await client.complete(call_by())
    assert type(caught.value) is error
    assert client.in_flight == 0


async def test_nobody_listening_is_unavailable(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(WorkerUnavailable):
        await connect(f"http://127.0.0.1:{port}").complete(call_by())


async def test_a_partial_usage_is_what_the_last_delta_told(
    worker: FakeWorker, connect: Connect
) -> None:
    await worker.script(answer="It has eight legs.", failure={"kind": "reset", "after_tokens": 3})
    told: list[Usage | None] = []
    with pytest.raises(WorkerUnavailable):
        async with aclosing(connect(worker.url).stream(call_by())) as stream:
            async for piece in stream:
                told.append(piece.usage)  # noqa: PERF401 - what came before the error counts
    assert told[-1] is not None
    assert told[-1].completion_tokens == 3


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"error": {"message": "bad", "param": "n", "code": 400}}', ("bad", "n", "400")),
        (b'{"error": {"message": "bad", "type": "BadRequest"}}', ("bad", None, "BadRequest")),
        (b'{"object": "error", "message": "bad", "type": "T"}', ("bad", None, "T")),
        (b'{"detail": "Not Found"}', ("Not Found", None, None)),
        (b'{"error": "bad"}', ("bad", None, None)),
        (b"<html>", ("<html>", None, None)),
        (
            b'{"error": {"message": "the request exceeds the available context size"}}',
            (
                "the request exceeds the available context size",
                None,
                "context_length_exceeded",
            ),
        ),
    ],
)
def test_error_bodies_of_every_shape_are_read(
    body: bytes, expected: tuple[str, str | None, str | None]
) -> None:
    assert error_of(body) == expected
