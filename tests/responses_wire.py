"""Reads what `/v1/responses` sends and holds all of it to the official SDK's own models."""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from openai.types.responses import Response, ResponseItemList, ResponseStreamEvent
from pydantic import TypeAdapter

OURS = {"store", "entroute"}
"""What a response may have beyond the SDK's model: OpenAI's own `store`, and entroute's object."""

LAST = {"response.completed", "response.incomplete", "response.failed"}


@dataclass(frozen=True, slots=True)
class TypedEvents:
    """A stream of typed events, read to its end.

    Attributes:
        events: Their data, in order.
        comments: How many comments came before the first.
    """

    events: list[dict[str, Any]]
    comments: int

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    @property
    def last(self) -> dict[str, Any]:
        """The response of the last event."""
        response: dict[str, Any] = self.events[-1]["response"]
        return response

    @property
    def text(self) -> str:
        """All pieces of text."""
        return "".join(event["delta"] for event in self.of("response.output_text.delta"))

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of one type."""
        return [event for event in self.events if event["type"] == kind]


def read_typed_events(body: str) -> TypedEvents:
    """Read a whole stream; anything that is no typed event or comment fails."""
    assert body.endswith("\n\n"), f"the stream ends within an event: {body[-200:]!r}"
    events: list[dict[str, Any]] = []
    comments = 0
    for block in body.removesuffix("\n\n").split("\n\n"):
        if block.startswith(":"):
            comments += not events
            continue
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    return TypedEvents(events, comments)


def check_response(body: Any) -> Response:
    """Hold a response to the SDK's model, strictly; return it."""
    response = Response.model_validate(body, strict=True)
    extra = set(response.model_extra or {})
    assert extra <= OURS, f"not of OpenAI's response: {extra - OURS}"
    return response


def check_stream(body: str) -> TypedEvents:
    """Hold a stream to the SDK's models and to the order in which events may come."""
    stream = read_typed_events(body)
    for place, event in enumerate(stream.events):
        _event().validate_python(event, strict=True)
        assert event["sequence_number"] == place
        if "response" in event:
            check_response(event["response"])
    assert stream.types[:2] == ["response.created", "response.in_progress"]
    assert [kind for kind in stream.types if kind in LAST] == stream.types[-1:]
    if stream.types[-1] != "response.failed":
        assert stream.last["output"] == _rebuilt(stream)
    return stream


def check(path: str, content_type: str, body: bytes) -> None:
    """Hold a good answer of `/v1/responses`, or of what lies below it, to the SDK's models."""
    if "event-stream" in content_type:
        check_stream(body.decode())
        return
    data = json.loads(body)
    if path.endswith("/input_items"):
        ResponseItemList.model_validate(data, strict=True)
    elif "deleted" not in data:
        check_response(data)


def _rebuilt(stream: TypedEvents) -> list[dict[str, Any]]:
    """Return the output as a client puts it together from the pieces; every step is checked."""
    made: dict[int, dict[str, Any]] = {}
    ended: set[int] = set()
    for event in stream.events:
        kind = event["type"]
        if kind == "response.output_item.added":
            assert event["output_index"] == len(made)
            assert event["item"]["status"] == "in_progress"
            made[event["output_index"]] = {**event["item"]}
        elif "output_index" in event:
            index = event["output_index"]
            assert index not in ended, f"after the item's end: {event}"
            item = made[index]
            if kind == "response.output_item.done":
                assert {**event["item"], "status": None} == {**item, "status": None}
                made[index] = event["item"]
                ended.add(index)
            else:
                assert event["item_id"] == item["id"]
                _apply(item, kind, event)
    assert ended == set(made)
    return [made[index] for index in sorted(made)]


def _apply(item: dict[str, Any], kind: str, event: dict[str, Any]) -> None:
    """Write one event into the item that it is of; ends must say what the pieces said."""
    if kind == "response.content_part.added":
        assert event["content_index"] == len(item["content"])
        item["content"] = [*item["content"], {**event["part"]}]
    elif kind == "response.reasoning_summary_part.added":
        item["summary"] = [*item["summary"], {**event["part"]}]
    elif kind == "response.function_call_arguments.delta":
        item["arguments"] += event["delta"]
    elif kind == "response.function_call_arguments.done":
        assert event["arguments"] == item["arguments"]
    else:
        parts = item["summary"] if "summary_index" in event else item["content"]
        part = parts[event.get("summary_index", event.get("content_index"))]
        if kind.endswith("part.done"):
            assert event["part"] == part
        else:
            _write(part, "refusal" if "refusal" in kind else "text", event)


def _write(part: dict[str, Any], name: str, event: dict[str, Any]) -> None:
    if "delta" in event:
        part[name] += event["delta"]
        if "logprobs" in part:
            part["logprobs"] = [*part["logprobs"], *event["logprobs"]]
    else:
        assert event[name] == part[name]
        assert event.get("logprobs") == part.get("logprobs")


@cache
def _event() -> TypeAdapter[Any]:
    return TypeAdapter(ResponseStreamEvent)
