"""A conversation's items as the messages of a chat."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from entroute.api.responses.items import Item
from entroute.errors import InvalidRequest

Message = dict[str, Any]


def messages_of(items: Sequence[Item], instructions: str | None) -> tuple[Message, ...]:
    """Return a conversation as messages; what models thought is left out.

    Raises:
        InvalidRequest: A function's output has no call, or a call no output.
    """
    _check_calls(items)
    messages: list[Message] = []
    if instructions is not None:
        messages.append({"role": "system", "content": instructions})
    for item in items:
        if item["type"] == "message":
            _add_message(messages, item)
        elif item["type"] == "function_call":
            _add_call(messages, item)
        elif item["type"] == "function_call_output":
            content = item["output"] if isinstance(item["output"], str) else _text_of(item)
            messages.append({"role": "tool", "tool_call_id": item["call_id"], "content": content})
    return tuple(messages)


def _check_calls(items: Iterable[Item]) -> None:
    open_calls: dict[str, None] = {}
    for item in items:
        if item["type"] == "function_call":
            open_calls[item["call_id"]] = None
        elif item["type"] == "function_call_output":
            call_id = item["call_id"]
            if call_id not in open_calls:
                raise InvalidRequest(
                    f"No tool call found for function call output with call_id {call_id}. Send "
                    "its function_call before it, or previous_response_id.",
                    param="input",
                )
            del open_calls[call_id]
    if open_calls:
        raise InvalidRequest(
            f"No tool output found for function call {next(iter(open_calls))}. Send its "
            "function_call_output.",
            param="input",
        )


def _add_message(messages: list[Message], item: Item) -> None:
    """Add a message; what an assistant says beside its calls is one message with them."""
    message = {"role": item["role"], **_content(item)}
    if item["role"] == "assistant" and messages and messages[-1].get("tool_calls"):
        said = (messages[-1]["content"], message["content"])
        messages[-1]["content"] = "\n".join(text for text in said if text)
    else:
        messages.append(message)


def _add_call(messages: list[Message], item: Item) -> None:
    function = {"name": item["name"], "arguments": item["arguments"]}
    call = {"id": item["call_id"], "type": "function", "function": function}
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    messages[-1].setdefault("tool_calls", []).append(call)


def _content(item: Item) -> Message:
    """Return content, one text as plain text: it then reads like the same chat completion."""
    parts = item["content"]
    if item["role"] == "assistant":
        refusals = [part["refusal"] for part in parts if part["type"] == "refusal"]
        said = {"refusal": "\n".join(refusals)} if refusals else {}
        return {"content": "\n".join(p["text"] for p in parts if "text" in p), **said}
    if len(parts) == 1 and "text" in parts[0]:
        return {"content": parts[0]["text"]}
    return {"content": [_part(part) for part in parts]}


def _part(part: Mapping[str, Any]) -> Message:
    if part["type"] == "input_image":
        image = {"url": part["image_url"], "detail": part["detail"]}
        return {"type": "image_url", "image_url": image}
    return {"type": "text", "text": part["text"]}


def _text_of(item: Item) -> str:
    return "\n".join(part["text"] for part in item["output"])
