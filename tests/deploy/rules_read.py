"""What the rule files and their unit tests say, read for tests."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from tests.gateway_process import ROOT

RULES = ROOT / "helm" / "entroute" / "files" / "rules"
DASHBOARDS = RULES.parent / "dashboards"
UNIT_TESTS = ROOT / "tests" / "deploy" / "rules"
RUNBOOK = ROOT / "docs" / "runbook.md"


def groups() -> dict[str, Mapping[str, Any]]:
    """Return every group of rules by its name.

    Raises:
        ValueError: Two groups have one name.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for path in sorted(RULES.glob("*.yaml")):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            if group["name"] in found:
                raise ValueError(f"{path.name}: the group {group['name']} exists already")
            found[group["name"]] = group
    return found


def rules() -> list[Mapping[str, Any]]:
    """Return every rule of all files."""
    return [rule for group in groups().values() for rule in group["rules"]]


def alerts() -> list[Mapping[str, Any]]:
    """Return every alert; one that warns at several speeds is there several times."""
    return [rule for rule in rules() if "alert" in rule]


def unit_tests() -> Iterator[Mapping[str, Any]]:
    """Yield every scene of promtool's unit tests."""
    for path in sorted(UNIT_TESTS.glob("*.yaml")):
        yield from yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]
