"""Says pydantic's JSON Schema in the words of draft 07, so that refusals name the wrong key.

A union of models becomes `if kind is ... then ...`: validators answer to a failed `oneOf` that none
of twenty branches holds, and to a failed `then` with the key that is wrong.
"""

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

_LEFT_OUT = frozenset({"title", "default", "format", "writeOnly", "discriminator"})
"""What validates nothing, or is no word of draft 07's."""

DEFAULT_KINDS: Mapping[str, str] = {
    "MemoryCacheConfig": "memory",
    "ChainConfig": "chain",
    "ThresholdConfig": "threshold",
    "MemoryFeedbackConfig": "memory",
}
"""Kinds that the service fills in where none is given, by the model they choose."""

_MAPS = frozenset({"properties", "patternProperties", "$defs"})
"""Keywords whose keys are names."""


def plain(schema: Schema) -> Schema:
    """Return an equal schema in draft 07; null, which Helm means as 'left out', is not in it."""
    if "discriminator" in schema:
        return _by_kind(schema)
    if "anyOf" in schema:
        return _any(schema)
    result: Schema = {}
    for key, value in schema.items():
        if key in _MAPS:
            result[key] = {name: plain(each) for name, each in value.items()}
        elif key == "prefixItems":
            result["items"] = [plain(each) for each in value]
        elif key not in _LEFT_OUT:
            result[key] = _value(value)
    if "patternProperties" in result:
        result["additionalProperties"] = False
    return result


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        return plain(value)
    if isinstance(value, list):
        return [_value(each) for each in value]
    return value


def _by_kind(schema: Schema) -> Schema:
    models: Mapping[str, str] = schema["discriminator"]["mapping"]
    rules: list[Schema] = [
        {
            "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
            "then": {"$ref": reference},
        }
        for kind, reference in models.items()
    ]
    unsaid = [one for one in models.values() if one.removeprefix("#/$defs/") in DEFAULT_KINDS]
    needed: Schema = {"required": ["kind"]}
    if unsaid:
        rules.append({"if": {"not": needed}, "then": {"$ref": unsaid[0]}})
    return {
        "type": "object",
        "properties": {"kind": {"enum": sorted(models)}},
        "allOf": rules,
        **({} if unsaid else needed),
    }


def _any(schema: Schema) -> Schema:
    branches = [branch for branch in schema["anyOf"] if branch != {"type": "null"}]
    about = {"description": schema["description"]} if "description" in schema else {}
    if len(branches) == 1:
        return {**about, **plain(branches[0])}
    if all(set(branch) == {"type"} for branch in branches):
        return {**about, "type": [branch["type"] for branch in branches]}
    return {**about, "anyOf": [plain(branch) for branch in branches]}
