"""What a call can spend at most, and whether it was cut off there."""

from collections.abc import Sequence

from entroute.types import Call, ChatRequest, Completion

UNKNOWN_CONTEXT = 32_768
"""Tokens assumed for a worker that does not tell its context length."""

_TEMPLATE_BYTES = 64  # more than any chat template adds to a message


def cut_off(call: Call, completion: Completion) -> bool:
    """Whether a call ended at a cap of its own, lower than the client's."""
    asked = call.request.max_tokens
    ours = call.max_tokens is not None and (asked is None or call.max_tokens < asked)
    return ours and completion.finish_reason == "length"


def prompt_bound(request: ChatRequest, partial: str = "") -> int:
    """Return an upper bound of a request's prompt tokens: no token is shorter than a byte.

    The answer so far, where there is one, is one more message to read.
    """
    declared = sum(
        len(str(request.extra[key]))
        for key in ("tools", "functions", "response_format")
        if key in request.extra
    )
    calls = sum(len(str(message.get("tool_calls", ""))) for message in request.messages)
    parts = max(1, len(request.messages)) + bool(partial)
    text = len(request.text.encode()) + len(partial.encode())
    text += len((request.suffix or "").encode())
    return text + declared + calls + parts * _TEMPLATE_BYTES


def samples_held(fresh: Sequence[bool], left: int, judging: int) -> int:
    """Return how many of some samples so many calls hold; only fresh ones need a call to make."""
    for number, one in enumerate(fresh):
        left -= judging + one
        if left < 0:
            return number
    return len(fresh)
