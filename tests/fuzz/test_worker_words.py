"""Whatever a worker says is read or refused by its one error, and told on as OpenAI would."""

import json
import math
import struct
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from entroute.api.chunks import Chunks
from entroute.api.render import Rendering
from entroute.backends import wire
from entroute.backends.embedding import EmbeddingCall, embedded_of
from entroute.backends.http_worker import error_of, retry_after
from entroute.bodies import too_deep
from entroute.errors import WorkerProtocolError
from entroute.evidence import Outcome
from entroute.types import Completion
from tests.builders import a_call, a_trace
from tests.fuzz.conftest import examples
from tests.fuzz.mutating import anything, mutated
from tests.fuzz.saying import CHUNKS, COMPLETION, EMBEDDINGS, LOGPROBS, OLD_LOGPROBS, TEXT
from tests.openai_wire import check

UNREADABLE = (AttributeError, KeyError, TypeError, ValueError, struct.error)
"""What `embedded_of` says it raises."""

REASONS = {"stop", "length", "tool_calls", "content_filter", "function_call"}

CHATTED = "/v1/chat/completions"


def rendering(*, chat: bool = True) -> Rendering:
    return Rendering(
        id="chatcmpl-1",
        created=1,
        chat=chat,
        trace=a_trace(),
        clock=lambda: 101.0,
        models={"small": "qwen-small"},
        asked_model="small",
        logprobs=True,
        top_logprobs=2,
        explain=False,
    )


def outcome_of(completion: Completion) -> Outcome:
    return Outcome((completion,), "single", "exhausted")


def told_whole(payload: Any, *, chat: bool) -> None:
    """Read a body as a worker's; what is read must be told as OpenAI would."""
    if too_deep(json.dumps(payload).encode(), payload):
        return  # refused where it is parsed
    try:
        completion = wire.completion_of(payload, a_call())
    except WorkerProtocolError:
        return
    assert completion.usage.prompt_tokens <= 2**40
    body = orjson.dumps(rendering(chat=chat).body(outcome_of(completion)), default=dict)
    if completion.finish_reason in REASONS:
        check(CHATTED if chat else "/v1/completions", 200, "application/json", body)


def told_streamed(chunks: list[Any]) -> None:
    """Read chunks as a worker's; what is read must be told as OpenAI would."""
    if any(too_deep(json.dumps(each).encode(), each) for each in chunks):
        return  # refused where it is parsed
    fold, writing = wire.Fold(a_call(), "small"), Chunks(rendering(), include_usage=True)
    sent = b""
    try:
        for each in chunks:
            delta = fold.add(each)
            if delta is not None:
                sent += writing.events(delta)
        completion = fold.completion()
    except WorkerProtocolError as error:
        sent += writing.failed(error)
    else:
        if completion.finish_reason not in REASONS:
            return
        sent += writing.events(outcome_of(completion)) + writing.end()
    check(CHATTED, 200, "text/event-stream", sent)


@given(mutated(COMPLETION))
@examples(400)
def test_a_spoiled_chat_is_refused_or_told_as_openai_would(payload: Any) -> None:
    told_whole(payload, chat=True)


@given(mutated(TEXT))
@examples(200)
def test_a_spoiled_text_is_refused_or_told_as_openai_would(payload: Any) -> None:
    told_whole(payload, chat=False)


@given(mutated(CHUNKS))
@examples(500)
def test_a_spoiled_stream_is_refused_or_told_as_openai_would(chunks: Any) -> None:
    told_streamed(chunks)


@given(st.lists(anything, max_size=4))
@examples(200)
def test_any_json_is_read_or_refused(chunks: list[Any]) -> None:
    told_streamed(chunks)
    for each in chunks:
        told_whole(each if isinstance(each, dict) else {"choices": each}, chat=True)


@given(mutated(LOGPROBS) | mutated(OLD_LOGPROBS) | anything)
@examples(400)
def test_log_probabilities_are_whole_or_none(logprobs: Any) -> None:
    for token in wire.logprobs_of({"logprobs": logprobs}):
        assert isinstance(token["token"], str)
        assert isinstance(token["logprob"], float | int)
        assert all(isinstance(one["token"], str) for one in token["top_logprobs"])


@given(st.binary(max_size=80) | anything.map(lambda value: json.dumps(value).encode()))
@examples(300)
def test_an_error_body_is_words_whatever_it_is(body: bytes) -> None:
    message, param, code = error_of(body)
    assert isinstance(message, str)
    assert len(message) <= 2000
    assert isinstance(param, str | None)
    assert isinstance(code, str | None)


@given(st.none() | st.text(max_size=20) | st.floats().map(str) | st.integers().map(str))
@examples(300)
def test_a_wait_is_a_number_of_seconds_whatever_was_said(value: str | None) -> None:
    assert 0.0 <= retry_after(value) <= 3600.0


@given(mutated(EMBEDDINGS), st.booleans())
@examples(300)
def test_spoiled_embeddings_are_refused_or_numbers(payload: Any, base64: bool) -> None:  # noqa: FBT001
    call = EmbeddingCall(("Hi",), 1e12, base64=base64)
    try:
        embedded = embedded_of(payload, call)
    except UNREADABLE:
        return
    (vector,) = embedded.vectors
    orjson.dumps(vector)
    if not base64:
        assert all(isinstance(number, float | int) and math.isfinite(number) for number in vector)
