"""The pieces of a streamed message to one message."""

from collections.abc import Mapping, Sequence
from typing import Any

MAX_TOOL_CALLS = 1024
"""Tool calls that are read of one answer; an index is a worker's word."""

_INPUT = {"function": "arguments"}


def merge_extra(whole: dict[str, Any], piece: Mapping[str, Any]) -> None:
    """Merge a delta's other fields into the message: tool calls by index, text by joining.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: It is not OpenAI's wire format.
    """
    for name, value in piece.items():
        if name == "tool_calls":
            _merge_tool_calls(whole.setdefault(name, []), value)
        elif isinstance(value, str) and isinstance(whole.get(name), str):
            whole[name] += value
        else:
            whole[name] = value


def _merge_tool_calls(whole: list[dict[str, Any]], pieces: Sequence[Mapping[str, Any]]) -> None:
    for piece in pieces:
        index = int(piece.get("index", len(whole)))
        if not 0 <= index < MAX_TOOL_CALLS:
            raise ValueError(f"tool call {index}, of {MAX_TOOL_CALLS} at most")
        while len(whole) <= index:
            whole.append({"id": "", "type": "function"})
        target = whole[index]
        target.update({key: piece[key] for key in ("id", "type") if piece.get(key)})
        kind = target["type"]
        text = ("name", _INPUT.get(kind, "input"))
        said = target.setdefault(kind, dict.fromkeys(text, ""))
        for key, value in (piece.get(kind) or {}).items():
            said[key] = said[key] + (value or "") if key in text else value
