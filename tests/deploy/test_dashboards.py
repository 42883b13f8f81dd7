"""The dashboards' files: what Grafana needs of them, and what readers do."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from deploy.dashboards.boards import FOLDER, files
from deploy.dashboards.layout import WIDTH, line
from deploy.dashboards.panels import Query, number
from tests.gateway_process import ROOT

NAMES = ("overview", "adaptive-compute", "workers", "cache", "tenants")
SELECTOR = re.compile(r"\b(entroute_\w+|entroute:[\w:]+|vllm:\w+|up)\b(\{[^}]*\})?")
OF_NO_RELEASE = "entroute:objective:"
OWN = {"__rate_interval", "__range", "__interval"}
LETTERS = 7.2
"""Of a title, a column of the grid: about what Grafana has room for."""


def loaded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / FOLDER / f"{name}.json").read_text())
    return found


@pytest.fixture(params=NAMES)
def dashboard(request: pytest.FixtureRequest) -> dict[str, Any]:
    return loaded(request.param)


def panels(dashboard: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions(dashboard: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def test_files_are_what_the_builder_makes() -> None:
    made = files()
    assert sorted(made) == sorted(f"{FOLDER}/{name}.json" for name in NAMES)
    for path, text in made.items():
        assert (ROOT / path).read_text() == text(), f"{path}: run `make docs`"


def test_the_builder_makes_the_same_twice() -> None:
    assert {path: text() for path, text in files().items()} == {
        path: text() for path, text in files().items()
    }


def test_addresses_differ_and_links_lead_to_each_other() -> None:
    uids = {loaded(name)["uid"] for name in NAMES}
    assert len(uids) == len(NAMES)
    for name in NAMES:
        found = loaded(name)
        led = {link["url"].removeprefix("/d/") for link in found["links"]}
        assert led == uids - {found["uid"]}
        assert all(link["keepTime"] and link["includeVars"] for link in found["links"])


def test_what_grafana_needs_is_there(dashboard: dict[str, Any]) -> None:
    assert dashboard["schemaVersion"] >= 36
    assert dashboard["tags"] == ["entroute"]
    assert dashboard["refresh"] == "30s"
    assert dashboard["time"] == {"from": "now-3h", "to": "now"}
    assert dashboard["graphTooltip"] == 1
    assert "id" not in dashboard
    assert len(dashboard["description"]) > 20


def test_identifiers_differ(dashboard: dict[str, Any]) -> None:
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in panels(dashboard):
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs) > 0


def test_panels_lie_beside_each_other_and_never_on_each_other(dashboard: dict[str, Any]) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard["panels"]:
        box = panel["gridPos"]
        assert box["x"] + box["w"] <= WIDTH
        for x in range(box["x"], box["x"] + box["w"]):
            for y in range(box["y"], box["y"] + box["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies on {taken[x, y]}"
                taken[x, y] = panel["title"]
    assert len(taken) == WIDTH * (1 + max(y for _, y in taken))


def test_every_panel_says_what_it_shows(dashboard: dict[str, Any]) -> None:
    titles = [panel["title"] for panel in panels(dashboard)]
    assert len(set(titles)) == len(titles)
    for panel in panels(dashboard):
        title, field = panel["title"], panel["fieldConfig"]["defaults"]
        assert len(title) <= LETTERS * panel["gridPos"]["w"], f"{title} will be cut"
        assert len(panel["description"]) >= 50, title
        assert field["unit"], title
        assert field["noValue"], title
        assert panel["options"] is not None, title
        assert all(target["legendFormat"] for target in panel["targets"]), title


def test_no_data_source_is_named(dashboard: dict[str, Any]) -> None:
    for variable in dashboard["templating"]["list"][1:]:
        assert variable["datasource"]["uid"] == "${datasource}"
    for panel in panels(dashboard):
        assert panel["datasource"]["uid"] == "${datasource}"
        assert all(t["datasource"]["uid"] == "${datasource}" for t in panel["targets"])


def test_variables_are_defined_and_used(dashboard: dict[str, Any]) -> None:
    defined = {each["name"]: each for each in dashboard["templating"]["list"]}
    asked = "".join(expression for _, expression in expressions(dashboard))
    used = set(re.findall(r"\$\{?(\w+)", asked)) - OWN
    assert used == set(defined) - {"datasource"}
    for name in used:
        assert defined[name]["includeAll"]
        assert defined[name]["multi"]
        assert defined[name].get("allValue") == (None if name == "job" else ".*")


def test_every_series_is_of_a_chosen_release_or_model(dashboard: dict[str, Any]) -> None:
    for title, expression in expressions(dashboard):
        found = SELECTOR.findall(expression)
        assert found, title
        for name, matchers in found:
            wanted = 'model_name=~"$model_name"' if name.startswith("vllm:") else 'job=~"$job"'
            assert name.startswith(OF_NO_RELEASE) or wanted in matchers, f"{title}: {name}"


def test_rates_follow_the_resolution_and_quantiles_sum_their_buckets(
    dashboard: dict[str, Any],
) -> None:
    for title, expression in expressions(dashboard):
        assert set(re.findall(r"\[(.*?)\]", expression)) <= {"$__rate_interval", "$__range"}, title
        for inside in re.findall(r"histogram_quantile\((.{0,40})", expression):
            assert re.match(r"[\d.]+, sum by \(le\b", inside), title


def test_what_all_replicas_say_of_the_same_is_never_summed(dashboard: dict[str, Any]) -> None:
    shared = r"entroute_(calibration_\w+|feedback_window_labels|keys|keys_age_seconds|redis_up"
    shared += r"|worker_up|worker_breaker_state|worker_ejected|worker_weight)\{"
    for title, expression in expressions(dashboard):
        assert not re.search(rf"sum( by \([^)]*\))? ?\({shared}", expression), title


def test_lines_that_do_not_fill_the_grid_are_refused() -> None:
    panel = number("Requests", "How many.", "short", Query("up", "up"))
    with pytest.raises(ValueError, match="24 together"):
        line(4, (6, panel), (6, panel))


def test_panels_that_the_runbook_names_exist() -> None:
    titles = {
        f"{found['title'].removeprefix('entroute / ')} / {panel['title']}"
        for found in map(loaded, NAMES)
        for panel in panels(found)
    }
    named = re.findall(r"\*([A-Z][a-z ]+ / [^*]+)\*", (ROOT / "docs" / "runbook.md").read_text())
    assert len(named) > 20
    assert set(named) - titles == set()


def test_pages_in_docs_show_every_dashboard() -> None:
    pictures = {path.stem: path for path in Path(ROOT / "docs" / "dashboards").glob("*.png")}
    assert set(pictures) == set(NAMES)
    assert all(path.stat().st_size < 300_000 for path in pictures.values())
    page = (ROOT / "docs" / "dashboards.md").read_text()
    assert all(f"dashboards/{name}.png" in page for name in NAMES)
