"""Which requests may be answered by meaning, and between which of them an answer may pass.

A request is a scope and a text. The text is the last user message; the scope is the exact cache's
key of everything else: system prompt, earlier turns, sampling, response format, options, rights,
tenant, models. So two requests of one scope differ in that one text alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from entroute.types import ChatRequest, Options, Principal, message_text

KeyOf = Callable[[ChatRequest, Options, Principal], str]
"""Returns the exact cache's key of a request."""

_PLAIN_PARTS = frozenset({"type", "text"})
_MESSAGE = frozenset({"role", "content", "name"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request belongs.

    Attributes:
        scope: Digest of all but the text; entries of another scope are never looked at.
        text: What is compared by meaning, white space at its ends left out.
    """

    scope: str
    text: str


def place_of(
    request: ChatRequest, options: Options, principal: Principal, key_of: KeyOf
) -> Place | None:
    """Return where a request belongs, None where only the same request may have its answer.

    Never with tools, with parts that are not text, with several choices, with log-probabilities,
    or where the answer goes on from a text: suffix, echo, a last message that is not the user's.
    """
    if not _simple(request):
        return None
    if request.prompt is not None:
        text, rest = request.prompt, replace(request, prompt="")
    elif (last := _asked(request)) is not None:
        text = message_text(last)
        blank = {**last, "content": ""}
        rest = replace(request, messages=(*request.messages[:-1], blank))
    else:
        return None
    text = text.strip()
    return Place(key_of(rest, options, principal), text) if text else None


def _simple(request: ChatRequest) -> bool:
    apart = request.has_tools or request.has_images or request.logprobs or request.n > 1
    told = request.extra.get("suffix") or request.extra.get("echo")  # of a chat, to its engine
    return not (apart or told or request.suffix or request.echo)


def _asked(request: ChatRequest) -> Mapping[str, Any] | None:
    """Return the last message if it is the user's and nothing but text."""
    last = request.messages[-1] if request.messages else {}
    if last.get("role") != "user" or not last.keys() <= _MESSAGE:
        return None
    content = last.get("content")
    if isinstance(content, str):
        return last
    plain = isinstance(content, list) and all(
        isinstance(part, Mapping) and part.keys() == _PLAIN_PARTS for part in content
    )
    return last if plain else None
