"""What the pages on sizing and upgrades say is so."""

import re
from pathlib import Path

import pytest

from entroute.changes import restart_keys
from entroute.evaluation.commands_size import sized
from entroute.evaluation.sizing_file import read_sizing
from entroute.settings import Settings
from tests.gateway_process import merged, two_tiers
from tests.named_tests import ROOT, check_named

DOCS = ROOT / "docs"


@pytest.mark.parametrize("page", ["sizing.md", "thresholds.md"])
def test_the_example_gives_the_table_that_is_shown(page: str, tmp_path: Path):
    text = (DOCS / page).read_text()
    found = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert found is not None
    path = tmp_path / "size.yaml"
    path.write_text(found.group(1))
    report = sized(read_sizing(path), ROOT)
    for name, arm in report["arms"].items():
        workers = " + ".join(f"{tier['replicas']} {own}" for own, tier in arm["tiers"].items())
        row = next(line for line in text.splitlines() if line.startswith(f"│ {name} "))
        shown = [cell.strip() for cell in row.strip("│").split("│")]
        money = [f"{arm['usd_per_hour']:.2f}", f"{arm['usd_per_1000_requests']:.3f}"]
        assert shown == [name, workers, str(arm["gateways"]), *money]


def test_upgrades_name_tests_that_exist():
    check_named((DOCS / "upgrades.md").read_text())


@pytest.mark.parametrize(
    ("changes", "restarted"),
    [
        ({"server": {"drain_s": 3}}, []),
        ({"server": {"log_level": "debug"}}, []),
        ({"timeouts": {"total_s": 5}, "queue": {"size": 3}, "limits": {"deadline_s": 9}}, []),
        ({"policy": {"kind": "static"}}, []),
        ({"server": {"receive_s": 3}}, ["server.receive_s"]),
        ({"cache": {"ttl_s": 3}}, ["cache.ttl_s"]),
    ],
)
def test_what_a_reload_changes_is_what_upgrades_say(
    changes: dict[str, object], restarted: list[str]
):
    base = two_tiers("http://127.0.0.1:1", "http://127.0.0.1:2")
    old, new = (Settings.model_validate(row) for row in (base, merged(base, changes)))
    assert old != new
    assert restart_keys(old, new) == restarted
