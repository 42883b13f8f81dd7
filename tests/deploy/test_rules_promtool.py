"""Prometheus's own tool reads the rules and runs their unit tests."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.rules_read import RULES, RUNBOOK, UNIT_TESTS
from tests.deploy.tools import Tools

pytestmark = pytest.mark.deploy


def test_promtool_finds_nothing_wrong(tools: Tools) -> None:
    files = sorted(map(str, RULES.glob("*.yaml")))
    command = [str(tools.promtool), "check", "rules", "--lint=all", "--lint-fatal", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", sorted(UNIT_TESTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_unit_tests_hold(tools: Tools, path: Path) -> None:
    command = [str(tools.promtool), "test", "rules", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_query_of_the_runbook_can_be_asked(tools: Tools, tmp_path: Path) -> None:
    spans = re.findall(r"`([^`\n]+)`", RUNBOOK.read_text("utf-8"))
    queries = [span for span in spans if re.search(r"entroute[_:]\w|vllm:|^up\b", span)]
    assert len(queries) > 40
    asked = [{"record": f"runbook:{n}", "expr": query} for n, query in enumerate(queries)]
    path = tmp_path / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "runbook", "rules": asked}]}), "utf-8")
    command = [str(tools.promtool), "check", "rules", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
