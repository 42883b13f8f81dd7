"""Prompts and answers as GenAI's conventions write them; only for who asks for them.

Source: OpenTelemetry's schemas gen-ai-input-messages.json and gen-ai-output-messages.json.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from entroute.types import Call, Completion

MOST_CHARACTERS = 32_768
"""Of one attribute: what waits for a collector is bounded in spans, and a batch of it in bytes."""

Part = dict[str, Any]


def input_messages(call: Call) -> str:
    """Return what a call asks, as JSON, cut off after `MOST_CHARACTERS`."""
    request = call.request
    if request.prompt is not None:
        said = [{"role": "user", "parts": [_text(request.prompt)]}]
    else:
        said = [
            {"role": str(message.get("role", "user")), "parts": _parts(message)}
            for message in request.messages
        ]
    if call.partial:
        said.append({"role": "assistant", "parts": [_text(call.partial)]})
    return _json(said)


def output_messages(completion: Completion) -> str:
    """Return what a worker answers, as JSON, cut off after `MOST_CHARACTERS`."""
    reasoning = completion.extra.get("reasoning_content")
    parts = [{"type": "reasoning", "content": str(reasoning)}] if reasoning else []
    parts += [_text(completion.content)] if completion.content else []
    parts += _tool_calls(completion.tool_calls)
    reason = completion.finish_reason
    return _json([{"role": "assistant", "parts": parts, "finish_reason": reason}])


def _parts(message: Mapping[str, Any]) -> list[Part]:
    """Return a message's parts; of images and the like only that they are there."""
    content = message.get("content")
    if message.get("role") == "tool":
        call_id = message.get("tool_call_id")
        return [{"type": "tool_call_response", "id": call_id, "response": content}]
    parts: list[Part] = [_text(content)] if isinstance(content, str) else []
    for part in content if isinstance(content, list) else ():
        text = part.get("text") if isinstance(part, Mapping) else None
        kind = str(part.get("type", "other")) if isinstance(part, Mapping) else "other"
        parts.append({"type": kind} if text is None else _text(str(text)))
    return parts + _tool_calls(message.get("tool_calls"))


def _tool_calls(calls: Any) -> list[Part]:
    """Return tool calls; nobody has checked what clients and workers give as such."""
    found = []
    for call in calls if isinstance(calls, list | tuple) else ():
        if isinstance(call, Mapping):
            function = call.get("function")
            named = function if isinstance(function, Mapping) else {}
            told = {"name": named.get("name"), "arguments": named.get("arguments")}
            found.append({"type": "tool_call", "id": call.get("id"), **told})
    return found


def _text(content: str) -> Part:
    return {"type": "text", "content": content}


def _json(messages: list[dict[str, Any]]) -> str:
    return orjson.dumps(messages, default=dict).decode()[:MOST_CHARACTERS]
