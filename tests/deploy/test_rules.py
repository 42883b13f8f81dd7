"""Rules, their unit tests and the runbook belong together; `test_rules_promtool` runs the tests."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.deploy.rules_read import DASHBOARDS, RUNBOOK, alerts, groups, rules, unit_tests

NAMES = sorted({alert["alert"] for alert in alerts()})
RECORDED = sorted({rule["record"] for rule in rules() if "record" in rule})
SCENES = list(unit_tests())
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def section(name: str) -> str:
    """Return the text of an alert's section of the runbook."""
    found = re.search(
        rf"^### {name}\n(.*?)(?=^##|\Z)", RUNBOOK.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert found is not None, f"docs/runbook.md lacks a section '### {name}'"
    return found.group(1)


def seconds(duration: str) -> int:
    """Return the seconds of a duration of Prometheus."""
    return sum(int(number) * SECONDS[unit] for number, unit in re.findall(r"(\d+)(\D)", duration))


def checks(name: str) -> list[list[tuple[int, list[Mapping[str, Any]]]]]:
    """Return, of each unit test of an alert, when it is looked at and what must be there."""
    return [
        [
            (seconds(check["eval_time"]), check.get("exp_alerts", []))
            for check in test["alert_rule_test"]
            if check["alertname"] == name
        ]
        for test in SCENES
        if any(check["alertname"] == name for check in test.get("alert_rule_test", ()))
    ]


def test_every_group_is_named_after_entroute_and_objectives_are_one() -> None:
    assert all(re.fullmatch(r"entroute(\.[a-z]+)+", name) for name in groups())
    recorded = groups()["entroute.objectives"]["rules"]
    assert all(rule["record"].startswith("entroute:objective:") for rule in recorded)
    elsewhere = [name for name in RECORDED if name.startswith("entroute:objective:")]
    assert sorted(rule["record"] for rule in recorded) == elsewhere


def test_no_rule_is_there_twice() -> None:
    seen = Counter(
        (rule.get("record") or rule["alert"], *sorted(rule.get("labels", {}).items()))
        for rule in rules()
    )
    assert [rule for rule, count in seen.items() if count > 1] == []


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: str(alert["alert"]))
def test_every_alert_says_how_bad_it_is_and_where_to_read(alert: Mapping[str, Any]) -> None:
    name = alert["alert"]
    assert re.fullmatch(r"Entroute([A-Z][a-z]+)+", name)
    assert alert["labels"]["severity"] in {"page", "ticket"}
    annotations = alert["annotations"]
    assert set(annotations) == {"summary", "description", "runbook"}
    assert annotations["runbook"] == f"runbook.md#{name.lower()}"
    assert annotations["description"].endswith(".")
    assert not annotations["summary"].endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_has_a_section_of_the_runbook(name: str) -> None:
    text = section(name)
    for part in ("**Clients:**", "**Look:**", "**Causes:**", "**Do:**", "**Not:**"):
        assert part in text, f"docs/runbook.md, {name}: lacks {part}"


def test_no_section_is_left_of_an_alert_that_is_gone() -> None:
    sections = re.findall(r"^### (Entroute\w+)$", RUNBOOK.read_text("utf-8"), re.MULTILINE)
    assert sorted(sections) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_is_seen_firing_resolved_and_silent(name: str) -> None:
    tests = checks(name)
    fired = [min((at for at, there in test if there), default=None) for test in tests]
    assert any(
        at is not None and any(later > at and not there for later, there in test)
        for at, test in zip(fired, tests, strict=True)
    ), f"no unit test of {name} sees it fire and resolve"
    assert any(any(there for _, there in test) and not test[0][1] for test in tests), (
        f"no unit test of {name} sees it wait before it fires"
    )
    assert any(not any(there for _, there in test) for test in tests) or len(tests) > 2, (
        f"no unit test of {name} sees it silent just below its threshold"
    )


def test_every_rule_of_an_alert_fires_in_a_unit_test() -> None:
    there = {
        (alert["exp_labels"]["severity"], alert["exp_labels"].get("long_window"), name)
        for name in NAMES
        for test in checks(name)
        for _, expected in test
        for alert in expected
    }
    asked = {
        (alert["labels"]["severity"], alert["labels"].get("long_window"), alert["alert"])
        for alert in alerts()
    }
    assert there == asked


@pytest.mark.parametrize("name", RECORDED)
def test_every_recorded_value_is_tested(name: str) -> None:
    asked = [check["expr"] for test in SCENES for check in test.get("promql_expr_test", ())]
    assert any(re.search(rf"(?<!\w){name}(?!\w)", expr) for expr in asked)


def test_the_runbook_names_panels_that_exist() -> None:
    panels = set(_panels())
    named = re.findall(r"\*([A-Z][\w ]+? / [^*]+)\*", RUNBOOK.read_text("utf-8"))
    assert len(named) > len(NAMES)
    assert [name for name in named if name not in panels] == []


def _panels() -> Iterator[str]:
    for path in DASHBOARDS.glob("*.json"):
        board = json.loads(path.read_text("utf-8"))
        called = board["title"].removeprefix("entroute / ")
        pending = list(board["panels"])
        while pending:
            panel = pending.pop()
            pending += panel.get("panels") or []
            yield f"{called} / {panel['title']}"
