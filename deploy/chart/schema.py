"""Writes `values.schema.json`: the models of values with the service's own schema inside."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from deploy.chart.plain import Schema, plain
from deploy.chart.service import PLACE
from deploy.chart.values import Values
from entroute.settings import Settings

DRAFT = "http://json-schema.org/draft-07/schema#"
"""The newest draft that both majors of Helm read."""

OWNED: Mapping[str, frozenset[str]] = {
    "Settings": frozenset({"tiers", "embeddings"}),
    "ServerSettings": frozenset(
        {"host", "port", "processes", "allow_unauthenticated", "drain_delay_s"}
    ),
    "AuthSettings": frozenset({"keys_file", "keys"}),
    "TierSettings": frozenset({"name", "workers", "discover", "engine"}),
    "EmbeddingSettings": frozenset({"name", "workers", "discover"}),
    "RemoteConfig": frozenset({"kind"}),
    "BubblewrapConfig": frozenset({"kind", "bwrap"}),
}
"""Settings that the chart sets, by model: values cannot give them."""

OPTIONAL: Mapping[str, frozenset[str]] = {"RemoteConfig": frozenset({"url"})}
"""Settings that the service needs and the chart can give."""


def values_schema() -> str:
    """Return the file."""
    schema = _placed(plain(Values.model_json_schema(by_alias=True)))
    definitions = {**schema.pop("$defs"), **service_definitions()}
    # A part that somebody set to null is gone from the values: say so, before a template stumbles.
    schema["required"] = sorted(schema["properties"].keys() - {"global"})
    whole = {"$schema": DRAFT, **schema, "$defs": _reached(schema, definitions)}
    return json.dumps(whole, indent=1, sort_keys=True) + "\n"


def service_definitions() -> dict[str, Schema]:
    """Return the service's models as values may give them, by their names."""
    schema = Settings.model_json_schema()
    named = {**schema.pop("$defs"), "Settings": schema}
    named["Discovery"] = named["TierSettings"]["properties"]["discover"]
    # In a pod, programs run elsewhere: in this chart's executor, or behind an address.
    named["Settings"]["properties"]["sandbox"] = {"$ref": "#/$defs/RemoteConfig"}
    return {name: plain(_cut(name, one)) for name, one in named.items()}


def _cut(name: str, schema: Schema) -> Schema:
    """Take out what the chart sets and what is secret: values end up in a ConfigMap."""
    fields = schema.get("properties")
    if fields is None:
        return schema
    gone = OWNED.get(name, frozenset()) | {key for key, field in fields.items() if _secret(field)}
    kept = {key: field for key, field in fields.items() if key not in gone}
    needed = set(schema.get("required", ())) - gone - OPTIONAL.get(name, frozenset())
    return {**schema, "properties": kept, "required": sorted(needed)}


def _secret(field: Schema) -> bool:
    """Whether a field is a secret or holds some, in a list or a map; models say so themselves."""
    return '"writeOnly": true' in json.dumps(field)


def _placed(schema: Schema) -> Schema:
    """Put references to the service's models where the models of values have marks."""

    def place(node: Any) -> Any:
        if isinstance(node, list):
            return [place(each) for each in node]
        if not isinstance(node, dict):
            return node
        if PLACE in node:
            return {"$ref": f"#/$defs/{node[PLACE]}"}
        return {key: place(each) for key, each in node.items()}

    placed: Schema = place(schema)
    return placed


def _reached(schema: Schema, definitions: Mapping[str, Schema]) -> dict[str, Schema]:
    """Return the definitions that a schema refers to, directly or not."""
    reached: dict[str, Schema] = {}
    waiting = _references(schema)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached[name] = definitions[name]
            waiting |= _references(definitions[name])
    return reached


def _references(node: Any) -> set[str]:
    found: set[str] = set()

    def look(part: Any) -> None:
        if isinstance(part, dict):
            if isinstance(reference := part.get("$ref"), str):
                found.add(reference.removeprefix("#/$defs/"))
            _each(part.values(), look)
        elif isinstance(part, list):
            _each(part, look)

    look(node)
    return found


def _each(parts: Any, look: Callable[[Any], None]) -> None:
    for part in parts:
        look(part)
