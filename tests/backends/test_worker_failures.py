"""What becomes of a call when a real fake worker is slow, broken or refuses."""

import socket
from typing import Any

import pytest

from entroute.backends.http_worker import Timeouts, error_of, retry_after
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
from entroute.types import Delta
from loadtest.spawn import FakeWorker, fake_worker
from tests.builders import a_request, read, read_until
from tests.workers import Connect, ask, both, call_by, running

FIRST = Timeouts(connect_s=2, first_token_s=0.15)


BETWEEN = Timeouts(connect_s=2, between_tokens_s=0.15)


BRIEF = Timeouts(connect_s=2, total_s=0.15)


STATUSES: list[tuple[int, float | None, type[WorkerError]]] = [
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
            one.setblocking(False)
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


@both
@pytest.mark.parametrize("meaning", STATUSES)
async def test_a_status_becomes_the_error_it_means(
    worker: FakeWorker,
    connect: Connect,
    stream: bool,  # noqa: FBT001
    meaning: tuple[int, float | None, type[WorkerError]],
) -> None:
    status, retry_after_s, error = meaning
    failure: dict[str, Any] = {"kind": "status", "status": status}
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
        ("reset", 2, WorkerFailed),
        ("close", 2, WorkerFailed),
        ("refuse", 0, WorkerUnavailable),
    ],
)
async def test_a_broken_stream_ends_in_an_error_after_what_was_made(
    worker: FakeWorker, connect: Connect, kind: str, after: int, error: type[WorkerError]
) -> None:
    await worker.script(answer="It has eight legs.", failure={"kind": kind, "after_tokens": after})
    client = connect(worker.url)
    pieces, caught = await read_until(client.stream(call_by()), WorkerError)
    assert type(caught) is error
    assert str(caught).startswith(f"worker {worker.url}/v1: ")
    if error is WorkerProtocolError:  # a lost connection takes with it what was not read yet
        assert len(pieces) == after
    assert len(pieces) <= after
    assert all(isinstance(piece, Delta) for piece in pieces)
    assert client.in_flight == 0


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("malformed", WorkerProtocolError),
        ("reset", WorkerUnavailable),
        ("close", WorkerFailed),
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
    failure = {"kind": "truncated", "after_tokens": 3}
    await worker.script(answer="It has eight legs.", failure=failure)
    stream = connect(worker.url).stream(call_by())
    pieces, _ = await read_until(stream, WorkerProtocolError)
    assert pieces[-1].usage is not None
    assert pieces[-1].usage.completion_tokens == 3


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


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 1),
        ("7", 7),
        ("0", 0),
        ("-3", 0),
        ("inf", 3600),
        ("1e9", 3600),
        ("nan", 1),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 1),
    ],
)
def test_a_workers_patience_is_between_none_and_an_hour(header: str | None, seconds: float) -> None:
    assert retry_after(header) == seconds
