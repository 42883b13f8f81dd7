"""Whatever bytes a worker sends, clients get an answer or OpenAI's error, soon, and never a 500."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.conftest import TIMEOUT_S, examples, in_thread
from tests.fuzz.mutating import anything, mutated, nested
from tests.fuzz.raw_worker import RawWorker, chunked, http
from tests.fuzz.saying import CHUNKS, COMPLETION
from tests.fuzz.serving import Spoiled, spoiled
from tests.openai_wire import assert_valid, read_events

ERRORS = {400, 413, 502, 503, 504}


@pytest.fixture(scope="module")
def gateway() -> Iterator[Spoiled]:
    with in_thread(spoiled()) as (served, _), httpx.Client(timeout=TIMEOUT_S) as http:
        yield replace(served, http=http)


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def stream_of(chunks: list[Any]) -> bytes:
    return b"".join(event(chunk) for chunk in chunks) + b"data: [DONE]\n\n"


GOOD = stream_of(CHUNKS)
BODY = orjson.dumps(COMPLETION)
SAID: dict[str, bytes] = {
    "nothing": b"",
    "no http": b"SSH-2.0-OpenSSH_9.6\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\ncontent-type: appl",
    "a status that is none": http(BODY, status=b"999 Odd"),
    "status 200 without a body": http(b""),
    "informational only": b"HTTP/1.1 100 Continue\r\n\r\n",
    "a status of letters": http(BODY, status=b"OK 200"),
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "a redirect": http(b"", status=b"302 Found", head=b"location: http://127.0.0.1:1/\r\n"),
    "too short": http(BODY, length=len(BODY) + 50),
    "too long": http(BODY, length=len(BODY) - 10),
    "two lengths": http(BODY, head=b"content-length: 3\r\n"),
    "a length that is negative": http(BODY, length=-5),
    "length and chunks": http(BODY, head=b"transfer-encoding: chunked\r\n"),
    "NUL in the head": http(BODY, head=b"x-odd: a\x00b\r\n"),
    "a huge header": http(BODY, head=b"x-big: " + b"x" * 200_000 + b"\r\n"),
    "many headers": http(BODY, head=b"".join(b"x-%d: 1\r\n" % i for i in range(20_000))),
    "bad chunk size": chunked([BODY]).replace(b"\r\n\r\n", b"\r\n\r\nZZ", 1),
    "chunks without an end": chunked([GOOD], end=False),
    "a huge chunk": chunked([b"data: " + b"x" * 6_000_000]),
    "a chunk that says it is huge": chunked([GOOD], end=False) + b"ffffffffffffffff\r\nabc",
    "NUL bytes": http(b"\x00" * 100),
    "no UTF-8": http(BODY.replace(b"Hi", b"\xff\xfe")),
    "no UTF-8 in a stream": chunked([GOOD.replace(b"Hi", b"\xff\xfe")]),
    "deep JSON": http(b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
    "deep within": http(BODY.replace(b'"hm"', b"[" * 300 + b"]" * 300)),
    "deep in a stream": chunked([event({"choices": [{"delta": {"x": nested(240)}}]})]),
    "deeper in a stream": chunked([b"data: " + b"[" * 10_000 + b"]" * 10_000 + b"\n\n"]),
    "NaN": http(BODY.replace(b"-0.1", b"NaN")),
    "infinite": http(BODY.replace(b"-0.1", b"1e400")),
    "infinite in a stream": chunked([GOOD.replace(b"-0.1", b"1e400")]),
    "huge counts": http(BODY.replace(b'"prompt_tokens":7', b'"prompt_tokens":1e300')),
    "huge integers": http(BODY.replace(b'"prompt_tokens":7', b'"prompt_tokens":' + b"9" * 400)),
    "a key twice": http(BODY[:-1] + b',"choices":[]}'),
    "a lone surrogate": http(BODY.replace(b"Hi", b"\\ud800")),
    "gzip that is none": http(BODY, head=b"content-encoding: gzip\r\n"),
    "an encoding that is none": http(BODY, head=b"content-encoding: odd\r\n"),
    "a stream as JSON": http(GOOD),
    "JSON as a stream": http(BODY, kind=b"text/event-stream"),
    "an event without an end": chunked([GOOD[:-9]]),
    "an error in a stream": chunked([event(CHUNKS[0]), event({"error": nested(30)})]),
    "an odd error": http(b'{"error": [1, {"message": 7}]}', status=b"400 Bad Request"),
    "an error of no text": http(b'{"error": {"message": [1]}}', status=b"422 No"),
    "an error of odd fields": http(
        b'{"error": {"message": null, "param": {"a": 1}, "type": 7}}', status=b"400 Bad Request"
    ),
    "a wait that is none": http(b"", status=b"429 Busy", head=b"retry-after: soon\r\n"),
    "a wait for ever": http(b"", status=b"503 Busy", head=b"retry-after: 1e400\r\n"),
    "a wait of nothing": http(b"", status=b"503 Busy", head=b"retry-after: nan\r\n"),
}

streamed = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def asked(gateway: Spoiled, answer: bytes, *, stream: bool) -> httpx.Response:
    worker = gateway.worker
    worker.answer = answer
    asked = len(worker.requests)
    body = {
        "model": "small",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": stream,
        "logprobs": True,
        "entroute": {"cache": "bypass"},
    }
    assert gateway.http is not None
    end = time.monotonic() + TIMEOUT_S
    while time.monotonic() < end:
        response = gateway.http.post(f"{gateway.url}/v1/chat/completions", json=body)
        if len(worker.requests) > asked:
            return response
        assert response.status_code == 503  # not asked yet: it is known to have failed before
        time.sleep(0.01)
    raise AssertionError("the worker was never asked")


def check(response: httpx.Response) -> None:
    """Hold a response to what clients may be told."""
    if response.status_code != 200:
        assert response.status_code in ERRORS, response.text
        assert_valid(response.json(), "ErrorResponse")
        error = response.json()["error"]
        assert error["code"] != "internal_error"
        assert error["message"]
    elif "event-stream" in response.headers["content-type"]:
        events = read_events(response.text)
        assert events.done != (events.error is not None)
        assert events.error is None or events.error["code"] != "internal_error"
    else:
        assert response.json()["choices"]


@streamed
@pytest.mark.parametrize("name", SAID)
def test_odd_answers(gateway: Spoiled, name: str, stream: bool) -> None:  # noqa: FBT001
    check(asked(gateway, SAID[name], stream=stream))


@streamed
def test_good_answers_are_answers(gateway: Spoiled, stream: bool) -> None:  # noqa: FBT001
    good = chunked([GOOD]) if stream else http(BODY)
    response = asked(gateway, good, stream=stream)
    check(response)
    assert response.status_code == 200
    assert "Hi" in response.text
    assert "internal_error" not in response.text


@given(mutated(COMPLETION))
@examples(25)
def test_spoiled_bodies(gateway: Spoiled, payload: Any) -> None:
    check(asked(gateway, http(json.dumps(payload).encode()), stream=False))


@given(mutated(CHUNKS))
@examples(30)
def test_spoiled_streams(gateway: Spoiled, chunks: Any) -> None:
    check(asked(gateway, chunked([stream_of(chunks)]), stream=True))


@given(st.data(), st.booleans())
@examples(30)
def test_spoiled_bytes(gateway: Spoiled, data: st.DataObject, stream: bool) -> None:  # noqa: FBT001
    good = chunked([event(chunk) for chunk in CHUNKS]) if stream else http(BODY)
    place = data.draw(st.integers(0, len(good)))
    gone = data.draw(st.integers(0, 20))
    new = data.draw(st.binary(max_size=8))
    check(asked(gateway, good[:place] + new + good[place + gone :], stream=stream))


@given(anything)
@examples(25)
def test_any_json(gateway: Spoiled, value: Any) -> None:
    check(asked(gateway, http(json.dumps(value).encode()), stream=False))


def test_an_endless_answer_is_refused_before_memory_is_full(gateway: Spoiled) -> None:
    worker: RawWorker = gateway.worker
    worker.repeat, worker.sent = b"x" * 65_536, 0
    response = asked(gateway, http(b"", length=2**40), stream=False)
    worker.repeat = b""
    assert response.status_code == 502
    assert worker.sent < 2**28 + 2**24


def test_an_endless_event_is_refused_before_memory_is_full(gateway: Spoiled) -> None:
    worker: RawWorker = gateway.worker
    worker.repeat, worker.sent = b"x" * 65_536, 0
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: "
    response = asked(gateway, head, stream=True)
    worker.repeat = b""
    assert response.status_code == 502
    assert worker.sent < 2**25
