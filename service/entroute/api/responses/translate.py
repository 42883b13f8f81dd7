"""A body of the Responses API in the walk's words."""

from collections.abc import Mapping, Sequence
from typing import Any

from entroute.api.responses.items import Item
from entroute.api.responses.messages import messages_of
from entroute.api.responses.schema import LOGPROBS, ResponseBody
from entroute.api.responses.tools import function_tools, response_format, tool_fields
from entroute.api.translate import public_fields
from entroute.errors import InvalidRequest, WorkerRejected
from entroute.types import EMPTY, ChatRequest

_CHAT_NAMES: Mapping[str, str] = {
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
    "verbosity": "text.verbosity",
    "logprobs": f"include: ['{LOGPROBS}']",
    "functions": "tools",
    "function_call": "tool_choice",
}
"""Fields of a chat completion, by what the Responses API calls them."""

_REFUSED: Mapping[str, str] = {
    "background": "requests are answered as they come; leave it out",
    "background_options": "requests are answered as they come; leave it out",
    "conversation": "conversations are not kept; send previous_response_id",
    "prompt": "prompt templates are not kept; send input and instructions",
    "n": "a response is one answer; leave it out",
    "context_management": "conversations are not compacted; leave it out",
    "moderation": "answers are not moderated; leave it out",
    "access_programs": "there are none; leave it out",
    "image": "images are passed on as they are; leave it out",
}

_INCLUDED = frozenset({LOGPROBS, "reasoning.encrypted_content", "message.input_image.image_url"})
"""What may be asked for; encrypted reasoning is never there, image addresses always are."""


_AS_IT_IS: Mapping[str, Any] = {"reasoning.mode": "standard", "reasoning.context": "auto"}
"""Settings that ask for what happens anyway."""


def check_fields(body: ResponseBody) -> None:
    """Refuse what cannot be honoured.

    Raises:
        InvalidRequest: A field is not supported; `param` names it.
    """
    _check_names(body)
    if body.truncation == "auto":
        raise InvalidRequest(
            "truncation: conversations are not cut to fit; send 'disabled' or leave it out.",
            param="truncation",
        )
    for place, wanted in enumerate(body.include or ()):
        if wanted not in _INCLUDED:
            raise InvalidRequest(
                f"include.{place}: '{wanted}' is none of {', '.join(sorted(_INCLUDED))}.",
                param=f"include.{place}",
            )
    if body.top_logprobs and not body.logprobs:
        raise InvalidRequest(f"top_logprobs needs include: ['{LOGPROBS}'].", param="top_logprobs")


def _check_names(body: ResponseBody) -> None:
    for name, value in (body.model_extra or {}).items():
        if name in _CHAT_NAMES and value is not None:
            raise InvalidRequest(
                f"{name}: is a field of chat completions; send {_CHAT_NAMES[name]}.", param=name
            )
        if name in _REFUSED and value not in (None, False):
            raise InvalidRequest(f"{name}: is not supported: {_REFUSED[name]}.", param=name)
    for section, config in (("text", body.text), ("reasoning", body.reasoning)):
        for name, value in (config.model_extra or {}).items() if config else ():
            path = f"{section}.{name}"
            if value is not None and value != _AS_IT_IS.get(path):
                raise InvalidRequest(f"{path}: is not supported; leave it out.", param=path)


def chat_request(
    body: ResponseBody, conversation: Sequence[Item], allowed: frozenset[str]
) -> ChatRequest:
    """Return what a body asks of the walk.

    Args:
        body: Checked by `check_fields`.
        conversation: Every item, those of earlier responses first.
        allowed: Engine-private fields that clients may send.

    Raises:
        InvalidRequest: A field is malformed, not allowed, or contradicts another.
    """
    return ChatRequest(
        model=body.model,
        messages=messages_of(conversation, body.instructions),
        max_tokens=body.max_output_tokens,
        temperature=body.temperature,
        seed=body.seed,
        logprobs=body.logprobs,
        top_logprobs=body.top_logprobs or 0,
        extra={**_passed_on(body, allowed), **_told(body)} or EMPTY,
    )


def _passed_on(body: ResponseBody, allowed: frozenset[str]) -> Mapping[str, Any]:
    own = {k: v for k, v in (body.model_extra or {}).items() if k not in _REFUSED}
    return public_fields(own, allowed)


def _told(body: ResponseBody) -> dict[str, Any]:
    """Return the fields that chats have too, by their names there."""
    fields = tool_fields(
        function_tools(body.tools or ()), body.tool_choice, parallel=body.parallel_tool_calls
    )
    named = {
        "top_p": body.top_p,
        "response_format": response_format(body.text.format if body.text else None),
        "verbosity": body.text.verbosity if body.text else None,
        "reasoning_effort": body.reasoning.effort if body.reasoning else None,
    }
    return {**fields, **{name: value for name, value in named.items() if value is not None}}


def renamed(error: InvalidRequest | WorkerRejected) -> InvalidRequest | WorkerRejected:
    """Return an error of the walk with the field's name as the client wrote it.

    A new one: who shares the answer with a chat completion is raised the same object.
    """
    given = error.param or ""
    name = _CHAT_NAMES.get(given)
    if name is None:
        return error
    begin = f"{given}:"
    told = error.message.startswith(begin)
    message = f"{name}:{error.message.removeprefix(begin)}" if told else error.message
    param = name.partition(":")[0]
    if isinstance(error, WorkerRejected):
        return WorkerRejected(
            error.worker, message, status=error.status, param=param, code=error.code
        )
    return type(error)(message, param=param, code=error.code)
