"""Tools and formats of the Responses API in the chat's words."""

from collections.abc import Mapping, Sequence
from typing import Any

from entroute.api.responses.items import checked
from entroute.api.responses.schema import FunctionTool, SchemaFormat
from entroute.errors import InvalidRequest

Tools = Sequence[Mapping[str, Any]]


def function_tools(tools: Tools) -> list[FunctionTool]:
    """Return the functions that may be called.

    Raises:
        InvalidRequest: A tool is not a function, or says what cannot be honoured.
    """
    return [_function(tool, f"tools.{place}") for place, tool in enumerate(tools)]


def _function(given: Mapping[str, Any], path: str) -> FunctionTool:
    kind = given.get("type")
    if kind != "function":
        raise InvalidRequest(
            f"{path}.type: the built-in tool '{kind}' does not exist here; only tools of type "
            "'function' are supported.",
            param=f"{path}.type",
        )
    tool = checked(FunctionTool, {k: v for k, v in given.items() if k != "type"}, path)
    for name, value in (tool.model_extra or {}).items():
        if value:
            raise InvalidRequest(
                f"{path}.{name}: is not supported; leave it out.", param=f"{path}.{name}"
            )
    return tool


def chat_tool(tool: FunctionTool) -> dict[str, Any]:
    """Return a function as a chat's tool."""
    known = {"name", "description", "parameters", "strict"}
    return {"type": "function", "function": tool.model_dump(include=known, exclude_none=True)}


def shown_tool(tool: FunctionTool) -> dict[str, Any]:
    """Return a function as a response shows it."""
    known = {"name", "description", "parameters", "strict"}
    return {"type": "function", **tool.model_dump(include=known)}


def tool_fields(
    tools: Sequence[FunctionTool], choice: str | Mapping[str, Any] | None, *, parallel: bool | None
) -> dict[str, Any]:
    """Return a chat's fields of tools.

    Raises:
        InvalidRequest: The choice is not supported or names no function of the request.
    """
    chosen, wanted = list(tools), choice
    if isinstance(choice, Mapping):
        chosen, wanted = _narrowed(tools, choice)
    elif choice not in {None, "auto", "none", "required"}:
        raise InvalidRequest(
            "tool_choice: must be auto, none, required, a function or allowed_tools.",
            param="tool_choice",
        )
    if not chosen:
        if wanted not in {None, "auto", "none"}:
            raise InvalidRequest("tool_choice: there are no tools.", param="tool_choice")
        return {}
    fields: dict[str, Any] = {"tools": [chat_tool(tool) for tool in chosen]}
    if wanted is not None:
        fields["tool_choice"] = wanted
    if parallel is not None:
        fields["parallel_tool_calls"] = parallel
    return fields


def _narrowed(tools: Sequence[FunctionTool], choice: Mapping[str, Any]) -> tuple[list[Any], Any]:
    """Return the tools that a choice leaves, and the chat's choice among them."""
    kind = choice.get("type")
    if kind == "function":
        name = _known(tools, choice.get("name"), "tool_choice.name")
        return list(tools), {"type": "function", "function": {"name": name}}
    if kind != "allowed_tools":
        raise InvalidRequest(
            f"tool_choice.type: '{kind}' is not supported; function and allowed_tools are.",
            param="tool_choice.type",
        )
    named, mode = choice.get("tools"), str(choice.get("mode"))
    if mode not in {"auto", "required"}:
        raise InvalidRequest("tool_choice.mode: auto or required.", param="tool_choice.mode")
    if not isinstance(named, list) or not all(isinstance(one, Mapping) for one in named):
        raise InvalidRequest("tool_choice.tools: must be a list.", param="tool_choice.tools")
    names = {
        _known(tools, one.get("name"), f"tool_choice.tools.{place}.name")
        for place, one in enumerate(named)
    }
    return [tool for tool in tools if tool.name in names], mode


def _known(tools: Sequence[FunctionTool], name: object, path: str) -> str:
    for tool in tools:
        if tool.name == name:
            return tool.name
    raise InvalidRequest(f"{path}: no function of tools is named {name!r}.", param=path)


def response_format(given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a chat's `response_format`, None for plain text.

    Raises:
        InvalidRequest: The format is unknown or malformed.
    """
    kind = "text" if given is None else given.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "json_object"}
    if kind != "json_schema":
        raise InvalidRequest(
            f"text.format.type: '{kind}' is not supported; text, json_object and json_schema are.",
            param="text.format.type",
        )
    schema = checked(SchemaFormat, given, "text.format")
    named = {"name": schema.name, "schema": schema.json_schema}
    optional = {"description": schema.description, "strict": schema.strict}
    given_too = {name: value for name, value in optional.items() if value is not None}
    return {"type": "json_schema", "json_schema": {**named, **given_too}}
