"""The chart's schema is the service's, and its values are the models' defaults."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator
from pydantic import ValidationError

from deploy.chart.defaults import flow
from deploy.chart.files import FILES
from deploy.chart.plain import DEFAULT_KINDS
from deploy.chart.schema import DRAFT, OPTIONAL, OWNED, service_definitions
from deploy.chart.values import Values
from deploy.generate import GENERATED, ROOT
from entroute.settings import Settings
from entroute.strategies import RUN_PROGRAMS
from tests.deploy.chart import CHART
from tests.deploy.chart_cases import CASES

SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
SERVICE = {**(whole := Settings.model_json_schema()).pop("$defs"), "Settings": whole}
TIER = {"name": "small", "model": "m", "workers": [{"url": "http://x/v1"}]}

CONFIGS: Mapping[str, dict[str, Any]] = {
    "nothing": {},
    "a default kind": {"cache": {"ttl_s": 5}},
    "a named kind": {"cache": {"kind": "off"}},
    "a wrong kind": {"cache": {"kind": "disk"}},
    "a wrong field of a kind": {"cache": {"kind": "off", "ttl_s": 5}},
    "a number too small": {"cache": {"ttl_s": 0}},
    "a list of kinds": {"difficulty": {"kind": "chain", "estimators": [{"kind": "lexical"}]}},
    "a wrong kind in a list": {"difficulty": {"kind": "chain", "estimators": [{"kind": "dice"}]}},
    "strategies": {"strategies": [{"kind": "esc"}, {"kind": "self_consistency", "samples": 5}]},
    "a wrong strategy": {"strategies": [{"kind": "self_consistency", "sample": 5}]},
    "pairs": {"strategies": [{"kind": "cascade", "calibration": [[0.1, 0.2], [0.5, 0.7]]}]},
    "pairs that are none": {"strategies": [{"kind": "cascade", "calibration": [["a", 0.2]]}]},
    "a bound that excludes": {"timeouts": {"total_s": 0}},
    "a field that may be null": {"retries": {"hedge_after_ms": 100}},
    "fields in a set": {"allow_fields": ["priority"]},
    "rewards": {"rewards": [{"name": "r", "url": "http://x/pooling", "scale": "logit"}]},
    "rewards without an address": {"rewards": [{"name": "r"}]},
    "a level of the log": {"server": {"log_level": "debug"}},
    "no level of the log": {"server": {"log_level": "loud"}},
    "a misspelt part": {"timeout": {}},
}


def fields(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = schema.get("properties", {})
    return found


def test_the_files_are_what_the_code_makes() -> None:
    for name, text in FILES.items():
        assert GENERATED[name] is text
        assert (ROOT / name).read_text(encoding="utf-8") == text(), name


def test_values_yaml_says_exactly_the_models_defaults() -> None:
    said = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert said == Values().model_dump(mode="json", by_alias=True, exclude_none=True)
    assert Values.model_validate(said) == Values()


@pytest.mark.parametrize("name", sorted(SCHEMA["$defs"].keys() & SERVICE.keys()))
def test_every_setting_of_the_service_is_in_the_chart_s_schema(name: str) -> None:
    there, ours = fields(SERVICE[name]), fields(SCHEMA["$defs"][name])
    secret = {key for key, field in there.items() if "writeOnly" in json.dumps(field)}
    assert ours.keys() == there.keys() - OWNED.get(name, set()) - secret
    assert SCHEMA["$defs"][name]["additionalProperties"] is False
    for key, field in ours.items():
        assert field.get("description") == there[key].get("description") or name == "Settings"
        for word in ("minimum", "maximum", "exclusiveMinimum", "pattern", "enum", "maxLength"):
            assert field.get(word) == _said(there[key], word), f"{name}.{key} {word}"


def _said(field: Mapping[str, Any], word: str) -> Any:
    return next((one[word] for one in (field, *field.get("anyOf", ())) if word in one), None)


def test_what_the_chart_sets_and_the_kinds_it_knows_are_the_service_s_own_names() -> None:
    for table in (OWNED, OPTIONAL):
        for name, gone in table.items():
            assert gone <= fields(SERVICE[name]).keys(), name
    for model, kind in DEFAULT_KINDS.items():
        assert fields(SERVICE[model])["kind"]["const"] == kind
    chosen = {
        type(field.default).__name__
        for name in ("cache", "difficulty", "policy", "feedback")
        for field in [Settings.model_fields[name]]
    }
    assert chosen == set(DEFAULT_KINDS)


def test_no_secret_can_be_given_in_the_config() -> None:
    assert "writeOnly" in json.dumps(SERVICE)
    reachable = service_definitions()
    for name, schema in SCHEMA["$defs"].items():
        if name in reachable:
            assert not {"api_key", "cache_salt_key"} & fields(schema).keys(), name


@pytest.mark.parametrize("name", CONFIGS)
def test_the_schema_takes_and_refuses_what_the_service_does(name: str) -> None:
    config = CONFIGS[name]
    try:
        Settings.model_validate({"tiers": [TIER], **config})
        taken = True
    except ValidationError:
        taken = False
    schema = {"$ref": "#/$defs/Settings", "$defs": SCHEMA["$defs"]}
    assert Draft7Validator(schema).is_valid(config) is taken


def test_the_schema_is_one_of_the_draft_that_both_helms_read() -> None:
    assert SCHEMA["$schema"] == DRAFT
    Draft7Validator.check_schema(SCHEMA)
    assert not {"prefixItems", "discriminator", "$anchor"} & set(_keywords(SCHEMA))


def _keywords(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from node
        for each in node.values():
            yield from _keywords(each)
    elif isinstance(node, list):
        for each in node:
            yield from _keywords(each)


@pytest.mark.parametrize("name", CASES)
def test_the_models_take_what_the_schema_takes(name: str) -> None:
    values = json.loads(json.dumps(CASES[name]))
    schema = {**SCHEMA, "required": []}
    assert list(Draft7Validator(schema).iter_errors(values)) == []
    Values.model_validate(values)


def test_templates_are_told_which_strategies_run_programs() -> None:
    facts = yaml.safe_load((CHART / "files/facts.yaml").read_text(encoding="utf-8"))
    assert set(facts["runPrograms"]) == RUN_PROGRAMS


def test_every_value_has_a_line_in_the_readme() -> None:
    text = (CHART / "README.md").read_text(encoding="utf-8")
    for path in _paths(yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")), ""):
        assert f"| `{path}` |" in text or f"| **`{path}`** |" in text, path


def _paths(values: Mapping[str, Any], prefix: str) -> Iterator[str]:
    model: Any = Values
    for part in prefix.split(".")[:-1]:
        model = next(
            field.annotation for field in model.model_fields.values() if field.alias == part
        )
    for field in model.model_fields.values():
        path = f"{prefix}{field.alias}"
        yield path
        value = values.get(field.alias)
        if isinstance(value, dict) and hasattr(field.annotation, "model_fields"):
            yield from _paths(value, f"{path}.")


def test_a_default_of_many_lines_is_written_as_one() -> None:
    assert flow(["a", {"b": "c: d"}]) == "[a, {b: 'c: d'}]"
    assert "\n" not in flow({"a": "x " * 300})
