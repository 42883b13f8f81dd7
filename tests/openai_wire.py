"""Reads what the gateway sends as OpenAI's clients do, and holds all of it to OpenAI's schemas."""

import json
import struct
from base64 import b64decode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from jsonschema import Draft202012Validator

from tests import responses_wire

SCHEMAS = Path(__file__).with_name("schemas") / "openai-subset.json"
DONE = "[DONE]"


@dataclass(frozen=True, slots=True)
class Events:
    """A stream of server-sent events, read to its end.

    Attributes:
        chunks: The data of every event but `[DONE]` and errors.
        error: The `error` object that ended the stream, or None.
        done: Whether `[DONE]` ended it.
        comments: How many comments came before the first event.
    """

    chunks: list[dict[str, Any]]
    error: dict[str, Any] | None
    done: bool
    comments: int

    @property
    def text(self) -> str:
        """The text of choice 0."""
        return self.text_of(0)

    def text_of(self, index: int) -> str:
        """Return the text of one choice."""
        pieces = [c for chunk in self.chunks for c in chunk["choices"] if c["index"] == index]
        return "".join(p["text"] if "text" in p else p["delta"].get("content", "") for p in pieces)


def read_events(body: str) -> Events:
    """Read a whole stream; anything that is no event or comment fails."""
    assert body.endswith("\n\n"), f"the stream ends within an event: {body[-200:]!r}"
    chunks: list[dict[str, Any]] = []
    error, done, comments = None, False, 0
    for block in body.removesuffix("\n\n").split("\n\n"):
        assert error is None, f"after an error: {block!r}"
        assert not done, f"after [DONE]: {block!r}"
        if block.startswith(":"):
            comments += not chunks
            continue
        assert block.startswith("data: "), block
        data = block.removeprefix("data: ")
        if data == DONE:
            done = True
        elif "error" in (event := json.loads(data)):
            error = event["error"]
        else:
            chunks.append(event)
    return Events(chunks, error, done, comments)


def assert_valid(body: Any, name: str) -> None:
    """Hold a body to the schema of that name, entroute's own objects left out."""
    _validator(name).validate(_without(body, "entroute"))


def check(path: str, status: int, content_type: str, body: bytes) -> None:
    """Hold a response of an OpenAI path to its schemas, every chunk of a stream included."""
    if status != httpx.codes.OK:
        assert_valid(json.loads(body), "ErrorResponse")
    elif "/responses" in path:
        responses_wire.check(path, content_type, body)
    elif "event-stream" in content_type:
        _check_stream(read_events(body.decode()), chat=path.endswith("/chat/completions"))
    else:
        _check_whole(path, json.loads(body))


def _check_stream(events: Events, *, chat: bool) -> None:
    for chunk in events.chunks:
        if chat:
            assert_valid(chunk, "CreateChatCompletionStreamResponse")
        else:
            assert_valid(_without_nulls(chunk), "CreateCompletionResponse")
    if events.error is not None:
        assert_valid({"error": events.error}, "ErrorResponse")


def _check_whole(path: str, body: Any) -> None:
    if path.endswith("/models"):
        assert_valid(body, "ListModelsResponse")
    elif path.endswith("/embeddings"):
        assert_valid(_with_numbers(body), "CreateEmbeddingResponse")
    elif path.endswith("/cache/invalidate"):  # entroute's own, as is the next
        assert set(body) == {"object", "tags"}
    elif path.endswith("/feedback"):  # entroute's own, in OpenAI's manner
        assert body["object"] == "entroute.feedback"
    elif path.endswith("/usage"):  # entroute's own
        assert body["object"] == "entroute.usage"
    elif path.endswith("/chat/completions"):
        assert_valid(body, "CreateChatCompletionResponse")
    else:
        assert_valid(_without_nulls(body), "CreateCompletionResponse")


class CheckedTransport(httpx.AsyncHTTPTransport):
    """Holds every response under /v1 that is read to its end to OpenAI's schemas."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        if request.url.path.startswith("/v1/") and request.method in {"GET", "POST"}:
            assert isinstance(response.stream, httpx.AsyncByteStream)
            response.stream = _Checked(response.stream, request.url.path, response)
        return response


class _Checked(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, path: str, response: httpx.Response) -> None:
        self._stream = stream
        self._path = path
        self._response = response
        self._body = b""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Pass the pieces on; the SDK begins anew after `[DONE]` to read what may be left."""
        async for piece in self._stream:
            self._body += piece
            yield piece
        content_type = self._response.headers.get("content-type", "")
        check(self._path, self._response.status_code, content_type, self._body)

    async def aclose(self) -> None:
        await self._stream.aclose()


@cache
def _validator(name: str) -> Draft202012Validator:
    document = json.loads(SCHEMAS.read_text(encoding="utf-8"))
    components = document["components"]
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": components})


def _without(body: Any, name: str) -> Any:
    if isinstance(body, dict):
        return {key: _without(value, name) for key, value in body.items() if key != name}
    return [_without(one, name) for one in body] if isinstance(body, list) else body


def _choice_without_nulls(choice: dict[str, Any]) -> dict[str, Any]:
    """Return a choice with a finish reason, and numbers for the first token of an echo."""
    filled = {**choice, "finish_reason": choice["finish_reason"] or "stop"}
    told = choice["logprobs"]
    if told and told["token_logprobs"][:1] == [None]:
        filled["logprobs"] = {
            **told,
            "token_logprobs": [0.0, *told["token_logprobs"][1:]],
            "top_logprobs": [{}, *told["top_logprobs"][1:]],
        }
    return filled


def _with_numbers(body: dict[str, Any]) -> dict[str, Any]:
    """Return embeddings with their base64 read: the specification has the numbers only."""
    data = []
    for item in body["data"]:
        vector = item["embedding"]
        if isinstance(vector, str):
            packed = b64decode(vector, validate=True)
            vector = list(struct.unpack(f"<{len(packed) // 4}f", packed))
        data.append({**item, "embedding": vector})
    return {**body, "data": data}


def _without_nulls(chunk: dict[str, Any]) -> dict[str, Any]:
    """Return a chunk of a text completion with what only its last one may hold filled in."""
    choices = [_choice_without_nulls(choice) for choice in chunk["choices"]]
    rest = {key: value for key, value in chunk.items() if key != "usage" or value is not None}
    return {**rest, "choices": choices}
