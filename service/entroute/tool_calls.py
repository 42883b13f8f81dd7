"""Tool calls to canonical text, so that votes can be counted over them."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

PATH_PATTERN = r"^(?:\*|[^.*]+)(?:\.(?:\*|[^.*]+))*$"
"""A dotted path into arguments: names of keys, `*` for every key or every element of a list."""

_PLAIN_DIGITS = 40
"""Digits up to which a number is written out; beyond, with an exponent."""

Path = tuple[str, ...]


def canonical_tool_calls(calls: Sequence[object], ignore: Sequence[str] = ()) -> str:
    """Write tool calls so that equal sets of calls are equal text.

    Calls are compared as a multiset: OpenAI's parallel calls belong to one turn and have no order,
    but one call made twice is two calls. Ids, the order of keys, whitespace and how a number is
    written (1, 1.0, 1e0) do not count; the types of values do. Arguments that are not JSON, and
    calls that are no calls, are kept as the text they are.

    Args:
        calls: As in OpenAI's message, or each the bare `{"name", "arguments"}`. Workers write
            them, so each may be anything.
        ignore: Dotted paths below the arguments of every call that do not count, `PATH_PATTERN`;
            an absent path is ignored anyway. A key that holds a dot cannot be named.

    Raises:
        ValueError: A path to ignore is not of that form.
    """
    paths = [_path(dotted) for dotted in ignore]
    listed = calls if isinstance(calls, list | tuple) else [calls]
    return "[" + ",".join(sorted(_written_call(call, paths) for call in listed)) + "]"


def _path(dotted: str) -> Path:
    if not re.fullmatch(PATH_PATTERN, dotted):
        raise ValueError(f"'{dotted}' is no path: write keys and * with dots between them")
    return tuple(dotted.split("."))


def _written_call(call: object, paths: Sequence[Path]) -> str:
    if not isinstance(call, Mapping):
        return _written(["unreadable", _shown(call)])
    custom = call.get("custom")
    if isinstance(custom, Mapping):  # its input is free text, even where it looks like JSON
        return _written([_shown(custom.get("name")), "custom", _shown(custom.get("input"))])
    function = call.get("function") or call
    if not isinstance(function, Mapping) or custom:
        return _written(["unreadable", _shown(custom or function)])
    return _written_function(function, paths)


def _written_function(function: Mapping[str, Any], paths: Sequence[Path]) -> str:
    name, raw = _shown(function.get("name")), function.get("arguments")
    try:
        value = _parsed(raw) if isinstance(raw, str) else raw
        for path in paths:
            value = _without(value, path)
        return f"[{_written(name)},{_written('json')},{_written(value)}]"
    except (ValueError, TypeError, ArithmeticError, RecursionError):
        return _written([name, "text", _shown(raw)])


def _shown(value: object) -> str:
    try:
        return str(value)
    except RecursionError:
        return f"a {type(value).__name__} nested too deeply"


def _parsed(raw: str) -> Any:
    return json.loads(raw, parse_float=Decimal, parse_int=Decimal)


def _without(value: Any, path: Path) -> Any:
    """Return a value without what lies at a path."""
    name, rest = path[0], path[1:]
    if isinstance(value, Mapping):
        return {
            key: _without(item, rest) if name in (key, "*") else item
            for key, item in value.items()
            if rest or name not in (key, "*")
        }
    if isinstance(value, list) and name == "*":
        return [_without(item, rest) for item in value] if rest else []
    return value


def _written(value: Any) -> str:
    """Write a value as JSON with sorted keys, no whitespace and numbers in one form.

    Raises:
        TypeError: It is nothing that JSON knows.
    """
    match value:
        case None | bool() | str():
            return json.dumps(value, ensure_ascii=False)
        case int() | float() | Decimal():
            return _numeral(value)
        case Mapping():
            pairs = sorted((str(key), item) for key, item in _items(value))
            return "{" + ",".join(f"{_written(key)}:{item}" for key, item in pairs) + "}"
        case list() | tuple():
            return "[" + ",".join(_written(item) for item in value) + "]"
        case _:
            raise TypeError(f"{type(value).__name__} is no JSON")


def _items(value: Mapping[Any, Any]) -> list[tuple[Any, str]]:
    return [(key, _written(item)) for key, item in value.items()]


def _numeral(value: float | Decimal) -> str:
    """Write a number exactly and in lowest form: 1 for 1.0 and 1e0, 1E+50 beyond 40 digits."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return json.dumps(value)
        value = Decimal(repr(value))
    sign, digits, exponent = Decimal(value).as_tuple()
    written = "".join(map(str, digits))
    significant = written.rstrip("0")
    power = int(exponent) + len(written) - len(significant)
    if not significant:
        return "0"
    exact = Decimal(("-" if sign else "") + f"{significant}e{power}")
    return f"{exact:f}" if len(significant) + abs(power) <= _PLAIN_DIGITS else str(exact)
