"""Whatever clients say is answered or refused by its field, and workers hear nothing private."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.api.translate import PRIVATE_FIELDS
from tests.fuzz.conftest import Fuzzed, examples
from tests.fuzz.mutating import anything, mutated
from tests.openai_wire import assert_valid

PART: dict[str, Any] = {"type": "text", "text": "Hi"}
OPTIONS: dict[str, Any] = {
    "strategy": "single",
    "quality": 0.5,
    "budget": {"max_calls": 2, "max_generated_tokens": 64, "deadline_ms": 5000, "max_cost_usd": 1},
    "verifier": {"kind": "exact", "answer": "1"},
    "cache": "bypass",
    "cache_tags": ["a"],
    "explain": True,
}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
VALID: dict[str, dict[str, Any]] = {
    "chat/completions": {
        "model": "small",
        "messages": [{"role": "user", "content": [PART]}, {"role": "assistant", "content": "a"}],
        "n": 1,
        "max_tokens": 8,
        "temperature": 0.5,
        "seed": 1,
        "stream": False,
        "stream_options": {"include_usage": True},
        "logprobs": True,
        "top_logprobs": 1,
        "tools": [TOOL],
        "stop": ["x"],
        "response_format": {"type": "text"},
        "entroute": OPTIONS,
    },
    "completions": {
        "model": "small",
        "prompt": ["Hi"],
        "max_tokens": 8,
        "logprobs": 1,
        "echo": False,
        "suffix": None,
        "entroute": OPTIONS,
    },
    "responses": {
        "model": "small",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "1"},
        ],
        "instructions": "Be brief",
        "max_output_tokens": 8,
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
        "text": {"format": {"type": "text"}},
        "reasoning": {"effort": "low"},
        "include": ["message.output_text.logprobs"],
        "metadata": {"a": "b"},
        "entroute": OPTIONS,
    },
    "embeddings": {
        "model": "minilm",
        "input": ["a", "b"],
        "encoding_format": "float",
        "user": "u",
        "entroute": {"budget": {"max_calls": 2}},
    },
    "feedback": {"id": "r-1", "right": True},
    "cache/invalidate": {"tags": ["a", "b"]},
}
every_path = pytest.mark.parametrize("path", VALID)


def post(gateway: Fuzzed, path: str, body: bytes) -> httpx.Response:
    headers = {"content-type": "application/json"}
    url = f"{gateway.url}/v1/{path}"
    return gateway.http.post(url, content=body, headers=headers)


def keys_in(value: Any) -> Iterator[str]:
    """Yield the names of the fields at the top, where engines look for theirs."""
    if isinstance(value, dict):
        yield from value


def check(gateway: Fuzzed, response: httpx.Response, sent: Any) -> None:
    """Hold a response to what clients may be told, and calls to what they may hold."""
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert_valid(response.json(), "ErrorResponse")
        error = response.json()["error"]
        assert error["message"]
        shaped = isinstance(sent, dict) and error["code"] != "invalid_json"
        assert error["param"] or not shaped, error
    for body in gateway.bodies() if response.status_code < 400 else ():
        assert not PRIVATE_FIELDS & set(keys_in(body)), body
        assert "entroute" not in body


@every_path
@given(data=st.data())
@examples(20)
def test_a_spoiled_body_is_answered_or_refused_by_its_field(
    open_gateway: Fuzzed, path: str, data: st.DataObject
) -> None:
    body = data.draw(mutated(VALID[path]))
    check(open_gateway, post(open_gateway, path, json.dumps(body).encode()), body)


@every_path
@given(data=st.data())
@examples(15)
def test_unknown_and_private_fields(open_gateway: Fuzzed, path: str, data: st.DataObject) -> None:
    names = st.sampled_from(sorted(PRIVATE_FIELDS)) | st.text(max_size=8)
    body = {**VALID[path], **data.draw(st.dictionaries(names, anything, min_size=1, max_size=3))}
    response = post(open_gateway, path, json.dumps(body).encode())
    check(open_gateway, response, body)
    private = {name for name in PRIVATE_FIELDS & body.keys() if body[name] is not None}
    assert not private or response.status_code == 400


@given(
    st.sampled_from(sorted(VALID)),
    st.binary(max_size=60) | anything.map(json.dumps).map(str.encode),
)
@examples(60)
def test_any_bytes_as_a_body(open_gateway: Fuzzed, path: str, body: bytes) -> None:
    check(open_gateway, post(open_gateway, path, body), None)


@every_path
@pytest.mark.parametrize("number", [10**30, -(10**30), 1e308])
@pytest.mark.parametrize("raw", [b'"\\ud800"', b'"\\u0000"', b"NaN", b"1e999", b"[" * 5000])
def test_what_json_cannot_say(path: str, open_gateway: Fuzzed, number: float, raw: bytes) -> None:
    for name in VALID[path]:
        huge = {**VALID[path], name: number}
        check(open_gateway, post(open_gateway, path, json.dumps(huge).encode()), huge)
        text = json.dumps({**VALID[path], name: "HERE"}).encode().replace(b'"HERE"', raw)
        check(open_gateway, post(open_gateway, path, text), None)


@every_path
def test_a_valid_body_is_answered(open_gateway: Fuzzed, path: str) -> None:
    body = {name: value for name, value in VALID[path].items() if name != "entroute"}
    response = post(open_gateway, path, json.dumps(body).encode())
    assert response.status_code == (404 if path == "feedback" else 200), response.text
    assert open_gateway.bodies() or path in {"feedback", "cache/invalidate"}
