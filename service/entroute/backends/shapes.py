"""What workers say, held to the types that clients and the walk rely on.

A worker's word is passed on to OpenAI's clients, counted and compared: a number where a text
belongs would fail far from where it came from.
"""

from collections.abc import Mapping
from typing import Any

from entroute.types import TokenLogprob

Json = Mapping[str, Any]

_KINDS = frozenset({"function", "custom"})
_INT = frozenset({int})  # and no bool, which is one
_INDEX = frozenset({int, type(None)})
_NUMBERS = frozenset({int, float})
_SILENT: Json = {"bytes": None}

MOST_TOKENS = 2**40
"""More tokens than any call has: what a count above it is taken for."""


def text(value: Any, name: str) -> str:
    """Return a text, "" for null.

    Raises:
        TypeError: It is something else; the message begins with its name.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(f"{name} is no text but {type(value).__name__}")
    return value


def tokens(value: Any) -> int:
    """Return a count, brought in range: counters only rise.

    Raises:
        TypeError, ValueError: It is no number.
    """
    return int(min(max(0.0, float(value)), MOST_TOKENS)) if value else 0


def check_fields(fields: Json) -> None:
    """Hold a message's other fields to OpenAI's types, absent ones left absent.

    Raises:
        AttributeError, TypeError: One is of another.
    """
    text(fields.get("refusal"), "refusal")
    _check_function(fields.get("function_call"))
    calls = fields.get("tool_calls")
    if not isinstance(calls, list | None):
        raise TypeError("tool calls are no list")
    for call in calls or ():
        text(call.get("id"), "a tool call's id")
        kind = text(call.get("type"), "a tool call's type") or "function"
        if kind not in _KINDS or type(call.get("index")) not in _INDEX:
            raise TypeError("a tool call's type or index is none that is known")
        for each in _KINDS:
            _check_function(call.get(each))


def _check_function(function: Any) -> None:
    if not isinstance(function, dict | None):
        raise TypeError("a function is no object")
    for name in ("name", "arguments", "input"):
        text((function or {}).get(name), f"a function's {name}")


def indexed(fields: Json, begin: int) -> Json:
    """Return a delta's other fields, its tool calls numbered from `begin` where they are not."""
    calls = fields.get("tool_calls")
    if not calls:
        return fields
    told = [{"index": begin + place, **_said(call)} for place, call in enumerate(calls)]
    return {**fields, "tool_calls": told}


def _said(call: Json) -> Json:
    """Return a tool call without its nulls, which OpenAI's own never has."""
    return {
        name: {key: each for key, each in value.items() if each is not None}
        if name in _KINDS
        else value
        for name, value in call.items()
        if value is not None
    }


def with_whole_calls(fields: Json) -> Json:
    """Return a whole message's other fields; its tool calls have all that clients look for."""
    calls = fields.get("tool_calls")
    return {**fields, "tool_calls": [_whole_call(call) for call in calls]} if calls else fields


def _whole_call(call: Json) -> Json:
    kind = call.get("type") or "function"
    said = _said(call)
    words = {"name": "", "arguments" if kind == "function" else "input": ""}
    return {"id": "", **said, "type": kind, kind: {**words, **said.get(kind, {})}}


def checked_entry(entry: TokenLogprob) -> TokenLogprob:
    """Return a token's log-probability with all that OpenAI's clients look for.

    Raises:
        AttributeError, KeyError, TypeError: It is of another shape.
    """
    tops = entry.get("top_logprobs") or ()
    tokens_told = (entry, *tops)
    for one in tokens_told:
        if not isinstance(one["token"], str) or type(one["logprob"]) not in _NUMBERS:
            raise TypeError("a log-probability without its token or its number")
        given = one.get("bytes")
        if not isinstance(given, list | None) or not _INT.issuperset(map(type, given or ())):
            raise TypeError("a token's bytes are no numbers")
    if entry.get("top_logprobs") is not None and all("bytes" in one for one in tokens_told):
        return entry
    return {**_SILENT, **entry, "top_logprobs": [{**_SILENT, **one} for one in tops]}
