"""Bodies and headers to the walk's words."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from entroute.api.parsing import parsed
from entroute.api.schema import ChatBody, EntrouteOptions, TextBody
from entroute.errors import InvalidRequest
from entroute.types import EMPTY, ChatRequest, Options

HEADER_PREFIX = "x-entroute-"
_JSON_OPTIONS = frozenset({"budget", "verifier", "explain", "quality", "cache-tags"})
_TAGS = HEADER_PREFIX + "cache-tags"

PRIVATE_FIELDS = frozenset(
    {
        *("priority", "ignore_eos", "kv_transfer_params", "chat_template", "cache_salt"),
        *("n_predict", "n_cmpl", "id_slot"),  # llama.cpp: other names of max_tokens and n, a slot
        *("best_of", "use_beam_search", "request_id"),  # vLLM: more samples, another call's name
    }
)
"""Engine-private fields: they reach past the gateway's accounting, fairness or isolation."""


def chat_request(body: ChatBody, allowed: frozenset[str]) -> ChatRequest:
    """Return what a chat completion asks.

    Raises:
        InvalidRequest: A field is not allowed, or contradicts another.
    """
    if body.top_logprobs and not body.logprobs:
        raise InvalidRequest("top_logprobs needs logprobs: true.", param="top_logprobs")
    return ChatRequest(
        model=body.model,
        messages=tuple(message.model_dump(exclude_unset=True) for message in body.messages),
        n=body.n or 1,
        max_tokens=body.max_completion_tokens or body.max_tokens,
        temperature=body.temperature,
        seed=body.seed,
        logprobs=bool(body.logprobs),
        top_logprobs=body.top_logprobs or 0,
        extra=public_fields(body.model_extra or {}, allowed),
    )


def text_request(body: TextBody, allowed: frozenset[str]) -> ChatRequest:
    """Return what a text completion asks.

    Raises:
        InvalidRequest: A field is not allowed, or contradicts another.
    """
    _check_echo(body)
    return ChatRequest(
        model=body.model,
        prompt=body.prompt if isinstance(body.prompt, str) else body.prompt[0],
        n=body.n or 1,
        max_tokens=_most_tokens(body),
        temperature=body.temperature,
        seed=body.seed,
        logprobs=body.logprobs is not None,
        top_logprobs=body.logprobs or 0,
        suffix=body.suffix or None,
        echo=bool(body.echo),
        extra=public_fields(body.model_extra or {}, allowed),
    )


def _most_tokens(body: TextBody) -> int | None:
    newer = body.max_completion_tokens
    return body.max_tokens if newer is None else newer


def _check_echo(body: TextBody) -> None:
    """Refuse what only means something together with an echo, or cannot be echoed."""
    if _most_tokens(body) == 0 and not body.echo:
        newer = body.max_completion_tokens is not None
        raise InvalidRequest(
            "No tokens were asked for; that needs echo: true.",
            param="max_completion_tokens" if newer else "max_tokens",
        )
    if body.echo and body.suffix and (body.logprobs is not None or _most_tokens(body) == 0):
        raise InvalidRequest(
            "A prompt that is filled in before a suffix is read with tokens of its model's in it: "
            "leave out logprobs, and ask for tokens, to have it echoed.",
            param="echo",
        )


def public_fields(fields: Mapping[str, Any], allowed: frozenset[str]) -> Mapping[str, Any]:
    """Return what may travel to a worker untouched, nulls left out.

    Raises:
        InvalidRequest: A field is private to the engine and not allowed.
    """
    extra = {name: value for name, value in fields.items() if value is not None}
    for name in extra.keys() & PRIVATE_FIELDS - allowed:
        raise InvalidRequest(
            f"'{name}' is private to the engine and this server does not let clients set it.",
            param=name,
        )
    return extra or EMPTY


def options_of(body: Mapping[str, Any] | None, headers: Mapping[str, str]) -> Options:
    """Return entroute's options from the body's `entroute` object and from headers; the body wins.

    Raises:
        InvalidRequest: An option is unknown or its value wrong; `param` is its path.
    """
    from_headers = {
        name.removeprefix(HEADER_PREFIX).replace("-", "_"): _header_value(name, value)
        for name, value in headers.items()
        if name.startswith(HEADER_PREFIX)
    }
    if not from_headers and not body:
        return Options()
    try:
        return EntrouteOptions.model_validate({**from_headers, **(body or {})}).options()
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        in_header = HEADER_PREFIX + path.replace("cache_tags", "cache-tags")
        where = f"entroute.{path}" if path.split(".")[0] in (body or {}) else in_header
        known = ", ".join(EntrouteOptions.model_fields)
        unknown = first["type"] == "extra_forbidden"
        message = f"Unknown option. Known options: {known}." if unknown else first["msg"]
        raise InvalidRequest(f"{where}: {message}", param=where) from error


def _header_value(name: str, value: str) -> Any:
    if name == _TAGS and not value.lstrip().startswith("["):
        return [tag.strip() for tag in value.split(",")]
    if name.removeprefix(HEADER_PREFIX) not in _JSON_OPTIONS:
        return value
    try:
        return parsed(value.encode())
    except json.JSONDecodeError as error:
        raise InvalidRequest(f"{name}: must be JSON: {error.msg}.", param=name) from error
