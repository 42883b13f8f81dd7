"""Requests made from the client's request: another line, another turn, another task."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from entroute.types import ChatRequest


def with_line(request: ChatRequest, line: str) -> ChatRequest:
    """Return the request with a line added, a blank line before it, where the user spoke last.

    A text completion has it at the prompt's end; a chat without a user message gets one.
    """
    if request.prompt is not None:
        return replace(request, prompt=f"{request.prompt}\n\n{line}")
    messages = list(request.messages)
    users = [i for i, message in enumerate(messages) if message.get("role") == "user"]
    if not users:
        return with_turns(request, {"role": "user", "content": line})
    messages[users[-1]] = _longer(messages[users[-1]], line)
    return replace(request, messages=tuple(messages))


def with_turns(request: ChatRequest, *turns: Mapping[str, Any]) -> ChatRequest:
    """Return a chat request with further messages at its end."""
    return replace(request, messages=(*request.messages, *turns))


def _longer(message: Mapping[str, Any], line: str) -> Mapping[str, Any]:
    content = message.get("content")
    if isinstance(content, list):
        return {**message, "content": [*content, {"type": "text", "text": line}]}
    return {**message, "content": f"{content or ''}\n\n{line}"}
