"""Makes a script from JSON; every refusal names the key and says what fits."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, get_args

from loadtest.failures import Failure, FailureKind
from loadtest.script import LEVELS, Answer, Rule, Script, ToolCall, Vectors


def revised(script: Script, changes: Mapping[str, Any]) -> Script:
    """Return a script with some keys replaced.

    Raises:
        ValueError: a key is unknown or its value does not fit; the message names it.
    """
    fields: dict[str, Any] = {}
    for key, value in changes.items():
        reader = _READERS.get(key)
        if reader is None:
            raise ValueError(f"script key {key!r} is unknown; use one of {sorted(_READERS)}")
        fields[_SINGLE.get(key, key)] = reader(key, value)
    return replace(script, **fields)


def _number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValueError(f"{key} must be a number of at least 0, not {value!r}")
    return float(value)


def _share(key: str, value: Any) -> float:
    share = _number(key, value)
    if share > 1:
        raise ValueError(f"{key} must be at most 1, not {value!r}")
    return share


def _share_or_none(key: str, value: Any) -> float | None:
    return None if value is None else _share(key, value)


def _count(key: str, value: Any) -> int:
    return int(_number(key, value))


def _flag(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{key} must be true or false, not {value!r}")  # noqa: TRY004
    return value


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{key} must be text, not {value!r}")  # noqa: TRY004
    return value


def _certainty(key: str, value: Any) -> tuple[float, ...]:
    levels = value if isinstance(value, list) else [value]
    numbers = tuple(
        LEVELS.get(level, level) if isinstance(level, str) else level for level in levels
    )
    if not numbers or not all(isinstance(p, int | float) and 0 < p <= 1 for p in numbers):
        raise ValueError(
            f"{key} must be one of {sorted(LEVELS)}, a probability in (0, 1] or a list of them, "
            f"not {value!r}"
        )
    return tuple(float(p) for p in numbers)


def _mapping(key: str, value: Any, known: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{key} must be an object, not {value!r}")  # noqa: TRY004
    unknown = sorted(set(value) - known)
    if unknown:
        raise ValueError(f"{key}.{unknown[0]} is unknown; use one of {sorted(known)}")
    return value


def _answer(key: str, value: Any) -> Answer:
    if isinstance(value, str):
        return Answer(value)
    fields = _mapping(key, value, {"text", "certainty", "reasoning", "tool_calls"})
    certainty = fields.get("certainty")
    return Answer(
        _text(f"{key}.text", fields.get("text", "")),
        None if certainty is None else _certainty(f"{key}.certainty", certainty),
        _text(f"{key}.reasoning", fields.get("reasoning", "")),
        tuple(_tool_call(f"{key}.tool_calls", call) for call in fields.get("tool_calls", ())),
    )


def _tool_call(key: str, value: Any) -> ToolCall:
    fields = _mapping(key, value, {"name", "arguments"})
    arguments = fields.get("arguments", {})
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return ToolCall(_text(f"{key}.name", fields.get("name")), text)


def _one_answer(key: str, value: Any) -> tuple[Answer, ...]:
    return () if value is None else (_answer(key, value),)


def _answers(key: str, value: Any) -> tuple[Answer, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{key} must be a list of answers, not {value!r}")  # noqa: TRY004
    return tuple(_answer(f"{key}[{place}]", item) for place, item in enumerate(value))


def _rule(key: str, value: Any) -> Rule:
    fields = _mapping(key, value, {"contains", "answer", "answers"})
    if ("answer" in fields) == ("answers" in fields):
        raise ValueError(f"{key} needs either `answer` or `answers`")
    answers = (
        _answers(f"{key}.answers", fields["answers"])
        if "answers" in fields
        else _one_answer(f"{key}.answer", fields["answer"])
    )
    return Rule(_text(f"{key}.contains", fields.get("contains")), answers)


def _rules(key: str, value: Any) -> tuple[Rule, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{key} must be a list of rules, not {value!r}")  # noqa: TRY004
    return tuple(_rule(f"{key}[{place}]", item) for place, item in enumerate(value))


_FAILURE: dict[str, Callable[[str, Any], Any]] = {
    "times": lambda key, value: None if value is None else _count(key, value),
    "status": _count,
    "after_tokens": _count,
    "retry_after_s": lambda key, value: None if value is None else _number(key, value),
    "probability": _share,
    "piece_bytes": _count,
    "every_ms": _number,
}


def _failure(key: str, value: Any) -> Failure:
    fields = _mapping(key, value, {"kind", *_FAILURE})
    kind: FailureKind = fields.get("kind")  # type: ignore[assignment]  # checked below
    if kind not in get_args(FailureKind):
        raise ValueError(f"{key}.kind must be one of {get_args(FailureKind)}, not {kind!r}")
    given = {
        name: read(f"{key}.{name}", fields[name])
        for name, read in _FAILURE.items()
        if name in fields
    }
    if given.get("piece_bytes") == 0:
        raise ValueError(f"{key}.piece_bytes must be at least 1: nothing would ever be sent")
    return Failure(kind, **given)


def _one_failure(key: str, value: Any) -> tuple[Failure, ...]:
    return () if value is None else (_failure(key, value),)


def _failures(key: str, value: Any) -> tuple[Failure, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{key} must be a list of failures, not {value!r}")  # noqa: TRY004
    return tuple(_failure(f"{key}[{place}]", item) for place, item in enumerate(value))


def _vectors(key: str, value: Any) -> Vectors:
    fields = _mapping(key, value, {"dimensions", "usage", "base64"})
    usual = Vectors()
    return Vectors(
        _count(f"{key}.dimensions", fields.get("dimensions", usual.dimensions)),
        _flag(f"{key}.usage", fields.get("usage", usual.usage)),
        _flag(f"{key}.base64", fields.get("base64", usual.base64)),
    )


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "ttft_ms": _number,
    "tokens_per_second": _number,
    "tokens": _count,
    "certainty": _certainty,
    "answer": _one_answer,
    "answers": _answers,
    "rules": _rules,
    "failure": _one_failure,
    "failures": _failures,
    "healthy": _flag,
    "metrics": _flag,
    "vectors": _vectors,
    "seed": _count,
    "jitter": _share,
    "accuracy": _share_or_none,
    "described": _flag,
    "unsure": _share,
}

_SINGLE = {"answer": "answers", "failure": "failures"}
"""Keys that give one of several."""
