"""What the test of alerts from end to end does to rules and routing: durations, nothing else."""

import re
from pathlib import Path

import yaml

from tests.deploy.faster import faster_route, faster_rules
from tests.deploy.rules_read import RULES, rules

DURATION = r"(?<!\w)(?:\d+(?:ms|[smhd]))+(?!\w)"


def test_every_duration_of_every_rule_is_a_sixtieth(tmp_path: Path) -> None:
    copies = [faster_rules(path, tmp_path) for path in sorted(RULES.glob("*.yaml"))]
    documents = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in copies]
    faster = [
        rule for document in documents for group in document["groups"] for rule in group["rules"]
    ]
    for slow, fast in zip(rules(), faster, strict=True):
        assert re.sub(DURATION, "", slow["expr"]) == re.sub(DURATION, "", fast["expr"])
        assert all(each.endswith("ms") for each in re.findall(DURATION, fast["expr"]))
        assert len(re.findall(DURATION, slow["expr"])) == len(re.findall(DURATION, fast["expr"]))
        same = slow.keys() - {"expr", "for"}
        assert {name: slow[name] for name in same} == {name: fast[name] for name in same}
    down = next(rule for rule in faster if rule.get("alert") == "EntrouteWorkerDown")
    assert down["for"] == "2000ms"
    hour = next(rule for rule in faster if rule.get("record", "").endswith("counted:increase1h"))
    assert "[60000ms]" in hour["expr"]
    assert "offset 60000ms" in hour["expr"]


def test_routes_wait_a_sixtieth_at_every_depth() -> None:
    slow = {"receiver": "a", "group_wait": "30s", "routes": [{"repeat_interval": "1d"}]}
    assert faster_route(slow) == {
        "receiver": "a",
        "group_wait": "500ms",
        "routes": [{"repeat_interval": "1440000ms", "routes": []}],
    }
