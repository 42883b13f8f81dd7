"""The items of a conversation: checked, put into one form, and told to the walk as messages."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from uuid import uuid4

from pydantic import BaseModel, ValidationError

from entroute.api.responses.schema import (
    FunctionCallItem,
    FunctionOutputItem,
    ImagePart,
    MessageItem,
    ReasoningItem,
    RefusalPart,
    TextPart,
)
from entroute.errors import InvalidRequest

Item = Mapping[str, Any]
"""One item as OpenAI's API returns it, with an id."""

Model = TypeVar("Model", bound=BaseModel)

_KNOWN = "message, function_call, function_call_output, reasoning"
_PARTS = "input_text, input_image, output_text, refusal"


def new_id(kind: str) -> str:
    """Return a new id of one kind: resp, msg, fc, fco, rs."""
    return f"{kind}_{uuid4().hex}"


def checked(model: type[Model], value: Any, path: str) -> Model:
    """Return what a value says.

    Raises:
        InvalidRequest: It is not of this form; `param` is the path of what is wrong.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        # The second part of a union's place names the member that was tried.
        where = f"{path}.{first['loc'][0]}" if first["loc"] else path
        raise InvalidRequest(f"{where}: {first['msg']}.", param=where) from error


def input_items(given: str | Sequence[Any]) -> list[Item]:
    """Return the items of an input, in one form and with ids.

    Raises:
        InvalidRequest: An item is malformed or of a kind that is not supported.
    """
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    return [_item(item, f"input.{place}") for place, item in enumerate(given)]


def _item(given: Any, path: str) -> Item:
    if not isinstance(given, Mapping):
        raise InvalidRequest(f"{path}: must be an object.", param=path)
    kind = given.get("type") or "message"
    if kind == "message":
        return _message(checked(MessageItem, given, path), path)
    if kind == "function_call":
        call = checked(FunctionCallItem, given, path)
        known = {"call_id": call.call_id, "name": call.name, "arguments": call.arguments}
        return _complete("function_call", call.id or new_id("fc"), known)
    if kind == "function_call_output":
        return _output(checked(FunctionOutputItem, given, path), path)
    if kind == "reasoning":
        thought = checked(ReasoningItem, given, path)
        return _complete("reasoning", thought.id or new_id("rs"), {"summary": thought.summary})
    hint = (
        "send the item itself, or previous_response_id"
        if kind == "item_reference"
        else f"supported are {_KNOWN}"
    )
    raise InvalidRequest(
        f"{path}.type: items of type '{kind}' are not supported; {hint}.", param=f"{path}.type"
    )


def _complete(kind: str, item_id: str, known: Mapping[str, Any]) -> Item:
    return {"id": item_id, "type": kind, "status": "completed", **known}


def _message(message: MessageItem, path: str) -> Item:
    if isinstance(message.content, str):
        parts = [_text(message.content, message.role)]
    else:
        parts = [
            _part(part, message.role, f"{path}.content.{place}")
            for place, part in enumerate(message.content)
        ]
    known = {"role": message.role, "content": parts}
    return _complete("message", message.id or new_id("msg"), known)


def _part(given: Mapping[str, Any], role: str, path: str) -> Item:
    kind = str(given.get("type"))
    if kind in {"input_text", "output_text"}:
        return _text(checked(TextPart, given, path).text, role)
    if kind == "refusal" and role == "assistant":
        return {"type": "refusal", "refusal": checked(RefusalPart, given, path).refusal}
    if kind == "input_image" and role != "assistant":
        image = checked(ImagePart, given, path)
        return {
            "type": "input_image",
            "image_url": image.image_url,
            "detail": image.detail or "auto",
        }
    raise InvalidRequest(
        f"{path}.type: parts of type '{kind}' are not supported in a message of the role "
        f"'{role}'; supported are {_PARTS}, the last two of the assistant, images of others.",
        param=f"{path}.type",
    )


def _text(text: str, role: str) -> Item:
    if role == "assistant":
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "input_text", "text": text}


def _output(output: FunctionOutputItem, path: str) -> Item:
    told: str | list[Item] = (
        output.output
        if isinstance(output.output, str)
        else [
            _output_part(part, f"{path}.output.{place}") for place, part in enumerate(output.output)
        ]
    )
    known = {"call_id": output.call_id, "output": told}
    return _complete("function_call_output", output.id or new_id("fco"), known)


def _output_part(given: Mapping[str, Any], path: str) -> Item:
    if given.get("type") != "input_text":
        raise InvalidRequest(
            f"{path}.type: functions return text here; send a string or input_text parts.",
            param=f"{path}.type",
        )
    return _text(checked(TextPart, given, path).text, "tool")
