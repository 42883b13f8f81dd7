"""However an answer comes in pieces, its events tell it in full and in order."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.api.responses.events import ResponseWriting
from entroute.api.responses.items import new_id
from entroute.api.responses.output import Output
from entroute.api.responses.render import Envelope, shown_settings
from entroute.api.responses.schema import LOGPROBS, ResponseBody
from entroute.errors import DeadlineExceeded, InvalidRequest
from entroute.evidence import Outcome, Trace
from entroute.folding import merge_extra
from entroute.spending import Usage
from entroute.types import Completion, Delta
from tests.responses_wire import TypedEvents, check_response, check_stream

TEXT = st.text(min_size=1, max_size=5)


def call_pieces(index: int) -> st.SearchStrategy[Delta]:
    call = st.fixed_dictionaries(
        {
            "index": st.just(index),
            "id": st.sampled_from(["c1", "c2", None, ""]),
            "function": st.fixed_dictionaries({"name": st.just("f"), "arguments": TEXT}),
        }
    )
    return st.builds(lambda one: Delta(extra={"tool_calls": [one]}), call)


PIECES = st.one_of(
    st.builds(Delta, TEXT),
    st.just(Delta()),
    st.builds(lambda text: Delta(extra={"reasoning_content": text}), TEXT),
    st.builds(lambda text: Delta(extra={"reasoning": text}), TEXT),
    st.builds(lambda text: Delta(extra={"refusal": text}), TEXT),
    call_pieces(0),
    call_pieces(1),
)
ENDS = st.sampled_from(["stop", "length", "content_filter", "tool_calls", "abort"])


def token(text: str) -> dict[str, Any]:
    return {"token": text, "logprob": -0.5, "bytes": None, "top_logprobs": []}


def writing_of(**fields: Any) -> ResponseWriting:
    body = ResponseBody.model_validate({"model": "small", "input": "Hi", **fields})
    return ResponseWriting(
        envelope=Envelope(new_id("resp"), 1, True, body, lambda: 2.0, shown_settings(body)),
        output=Output(new_id, body.logprobs, body.top_logprobs or 0),
        trace=Trace("r", "responses", 0.0, streamed=True),
        clock=lambda: 1.0,
        models={"small": "qwen-small"},
        explain=False,
    )


def outcome_of(pieces: Sequence[Delta], finish_reason: str = "stop") -> Outcome:
    extra: dict[str, Any] = {}
    for piece in pieces:
        merge_extra(extra, piece.extra)
    text = "".join(piece.content for piece in pieces)
    logprobs = tuple(one for piece in pieces for one in piece.logprobs)
    completion = Completion(text, finish_reason, Usage(3, 0, 2, 1), extra=extra, logprobs=logprobs)
    return Outcome((completion,), "single", "settled")


def streamed(writing: ResponseWriting, pieces: Sequence[Delta], outcome: Outcome) -> TypedEvents:
    items: list[Delta | Outcome] = [*pieces, outcome]
    data = b"".join(writing.events(item) for item in items) + writing.end()
    return check_stream(data.decode())


def text_of(output: Sequence[dict[str, Any]], kind: str = "text") -> str:
    parts = [part for item in output if item["type"] == "message" for part in item["content"]]
    return "".join(part[kind] for part in parts if kind in part)


@given(st.lists(PIECES, max_size=12), ENDS)
def test_events_hold_all_pieces_in_order(pieces: list[Delta], end: str):
    stream = streamed(writing_of(), pieces, outcome_of(pieces, end))
    output = stream.last["output"]
    assert stream.text == text_of(output) == "".join(piece.content for piece in pieces)
    assert text_of(output, "refusal") == "".join(p.extra.get("refusal", "") for p in pieces)
    calls = [item for item in output if item["type"] == "function_call"]
    assert len({call["call_id"] for call in calls}) == len(calls)
    given_calls = [one for piece in pieces for one in piece.extra.get("tool_calls", ())]
    for place, index in enumerate(dict.fromkeys(one["index"] for one in given_calls)):
        own = [one["function"]["arguments"] for one in given_calls if one["index"] == index]
        assert calls[place]["arguments"] == "".join(own)
    cut_off = end in {"length", "content_filter"}
    assert stream.last["status"] == ("incomplete" if cut_off else "completed")
    assert {item["status"] for item in output[:-1]} <= {"completed"}
    assert output[-1]["status"] == stream.last["status"]


@given(st.lists(PIECES, max_size=12), ENDS)
def test_a_whole_answer_is_a_stream_of_one_piece(pieces: list[Delta], end: str):
    outcome = outcome_of(pieces, end)
    whole, stream = writing_of().whole(outcome), streamed(writing_of(), [], outcome)
    check_response(whole)
    assert text_of(whole["output"]) == text_of(stream.last["output"])
    assert [i["type"] for i in whole["output"]] == [i["type"] for i in stream.last["output"]]


@given(st.lists(PIECES, max_size=6))
def test_an_error_ends_a_stream_anywhere(pieces: list[Delta]):
    writing = writing_of()
    data = b"".join(writing.events(piece) for piece in pieces)
    data += writing.failed(DeadlineExceeded("Too late."))
    stream = check_stream(data.decode())
    assert stream.types[-2:] == ["error", "response.failed"]
    assert stream.events[-2]["code"] == "deadline_exceeded"
    assert stream.last["error"] == {"code": "server_error", "message": "Too late."}
    assert all(item["status"] != "in_progress" for item in stream.last["output"])


def test_the_clients_fault_is_told_as_such():
    data = writing_of().failed(InvalidRequest("x: is wrong.", param="x"))
    stream = check_stream(data.decode())
    assert stream.events[-2]["param"] == "x"
    assert stream.last["error"]["code"] == "invalid_prompt"


def test_a_refusal_is_a_part_of_its_own():
    stream = streamed(writing_of(), [], outcome_of([Delta(extra={"refusal": "I cannot."})]))
    assert stream.last["output"][0]["content"] == [{"type": "refusal", "refusal": "I cannot."}]
    assert stream.types.count("response.refusal.done") == 1


def test_an_empty_answer_is_a_message_without_text():
    output = writing_of().whole(outcome_of([]))["output"]
    assert [item["content"][0]["text"] for item in output] == [""]


def test_log_probabilities_wait_for_the_text_that_they_are_of():
    pieces = [
        Delta(logprobs=(token("\\xf0"),)),
        Delta("🦀", logprobs=(token("\\x9f"),)),
        Delta(extra={"reasoning": "Hm."}, logprobs=(token("Hm."),)),
        Delta(logprobs=(token("!"),)),
        Delta("a", logprobs=(token("a"),)),
        Delta(logprobs=(token("<end>"),)),
    ]
    stream = streamed(writing_of(include=[LOGPROBS]), pieces, outcome_of(pieces))
    shown = [
        [entry["token"] for part in item["content"] for entry in part["logprobs"]]
        for item in stream.last["output"]
        if item["type"] == "message"
    ]
    assert shown == [["\\xf0", "\\x9f"], ["!", "a", "<end>"]]


def test_alternatives_beyond_the_wanted_are_left_out():
    many = {**token("a"), "top_logprobs": [token("a"), token("b"), token("c")]}
    body = {"include": [LOGPROBS], "top_logprobs": 2}
    whole = writing_of(**body).whole(outcome_of([Delta("a", logprobs=(many,))]))
    entry = whole["output"][0]["content"][0]["logprobs"][0]
    assert [one["token"] for one in entry["top_logprobs"]] == ["a", "b"]
    assert entry["bytes"] == [97]


@pytest.mark.parametrize("store", [True, False])
def test_what_is_kept_is_what_is_delivered(*, store: bool):
    writing = writing_of(store=store)
    outcome = outcome_of([Delta("Eight.")])
    kept = writing.finished(outcome)
    delivered = streamed(writing, [], outcome).last
    del delivered["entroute"]
    assert delivered == kept
