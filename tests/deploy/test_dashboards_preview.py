"""The preview: it shows what panels show, and reddens those that show nothing."""

import base64
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from deploy.dashboards.boards import FOLDER
from deploy.dashboards.preview import moment, preview, spanned
from deploy.dashboards.preview_answers import Series, Span, buckets, chosen, filled
from deploy.dashboards.preview_canvas import WRONG
from deploy.dashboards.preview_units import told
from tests.gateway_process import ROOT

SPAN = Span(start=1000.0, end=1600.0, step_s=10.0, rate_s=60.0)
LABELS = {
    "le": "0.5", "tier": "small", "worker": "w:1", "instance": "g:1", "plan": "votes",
    "group": "search", "version": "1.0",
}  # fmt: skip


def test_numbers_are_told_in_their_units() -> None:
    assert told(0.0123, "percentunit") == "1.23%"
    assert told(0.0123, "percentunit", 0) == "1%"
    assert told(0.00042, "s") == "420 µs"
    assert told(0, "s") == "0 s"
    assert told(7200, "s") == "2 h"
    assert told(12345, "short") == "12.3k"
    assert told(1e7, "currencyUSD") == "$10M"
    assert told(3.14159, "reqps") == "3.14 req/s"
    assert told(3.14159, "suffix: tok/s") == "3.14 tok/s"
    assert told(2, "none") == "2"


def test_moments_are_read() -> None:
    assert moment("now", 5000) == 5000
    assert moment("now-1h", 5000) == 1400
    assert moment("1795485647.5", 5000) == 1795485647.5
    with pytest.raises(ValueError, match="yesterday"):
        moment("yesterday", 5000)


def test_a_span_has_the_step_and_rate_interval_of_grafana() -> None:
    assert spanned(0, 600, 15).step_s == 15
    assert spanned(0, 600, 15).rate_s == 60
    long = spanned(0, 86400, 15)
    assert long.step_s == 360
    assert long.rate_s == 375
    assert SPAN.variables == {"__rate_interval": "60s", "__interval": "10s", "__range": "600s"}


def test_variables_are_filled_in_both_forms() -> None:
    assert filled('up{job=~"$job"}[${w}]', {"job": ".*", "w": "5m"}) == 'up{job=~".*"}[5m]'
    with pytest.raises(KeyError, match="tier"):
        filled('x{tier="$tier"}', {"job": ".*"})


def test_buckets_hold_what_lies_between_their_bounds() -> None:
    counts = {"0.5": 3.0, "0.1": 1.0, "+Inf": 7.0}
    rising = [Series(le, {"le": le}, "A", [(1.0, value)]) for le, value in counts.items()]
    assert [(each.name, each.points[0][1]) for each in buckets(rising)] == [
        ("0.1", 1.0),
        ("0.5", 2.0),
        ("+Inf", 4.0),
    ]


def answering(request: httpx.Request) -> httpx.Response:
    """Answer every query with one series, as Prometheus would."""
    asked = dict(httpx.QueryParams(request.content.decode()))
    told_by: dict[str, Any] = {"metric": LABELS}
    if request.url.path.endswith("/values"):
        return httpx.Response(200, json={"status": "success", "data": ["small", "large.1"]})
    if request.url.path.endswith("query_range"):
        times = range(int(float(asked["start"])), int(float(asked["end"])), 10)
        told_by |= {"values": [[at, "1"] for at in times]}
    else:
        told_by |= {"value": [float(asked["time"]), "1"]}
    return httpx.Response(200, json={"status": "success", "data": {"result": [told_by]}})


def finding_nothing(request: httpx.Request) -> httpx.Response:
    empty: Any = [] if request.url.path.endswith("/values") else {"result": []}
    return httpx.Response(200, json={"status": "success", "data": empty})


def refusing(request: httpx.Request) -> httpx.Response:
    if request.url.path.endswith("/values"):
        return finding_nothing(request)
    return httpx.Response(400, json={"status": "error", "error": "parse error: no such thing"})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return Path(shutil.copy(ROOT / FOLDER / "tenants.json", tmp_path))


def pages(handler: Any, file: Path) -> tuple[list[str], Image.Image, str]:
    """Return the problems, the picture of the first panel and the page."""
    with httpx.Client(transport=httpx.MockTransport(handler), base_url="http://p") as http:
        problems = [each.problem for each in preview(http, SPAN, file.parent / "out", [file])]
    page = (file.parent / "out" / "tenants.html").read_text()
    found = re.search(r"data:image/png;base64,([^\"]+)", page)
    assert found
    return problems, Image.open(io.BytesIO(base64.b64decode(found[1]))).convert("RGB"), page


def ground(image: Image.Image) -> str:
    """Return the colour that a picture has most of."""
    counted = image.getcolors(image.width * image.height)
    assert counted
    _, colour = max(counted)
    assert isinstance(colour, tuple)
    return "#" + "".join(f"{part:02x}" for part in colour)


def test_pages_show_every_panel_in_the_grid(file: Path) -> None:
    problems, first, page = pages(answering, file)
    assert problems == []
    assert ground(first) == "#ffffff"
    dashboard = json.loads(file.read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert page.count("<figure") == len(panels)
    assert page.count("<h2") == len(dashboard["panels"]) - len(panels)
    with Image.open(file.parent / "out" / "tenants.png") as whole:
        assert whole.width > 1500


def test_panels_that_find_nothing_are_red_and_told(file: Path) -> None:
    problems, first, _ = pages(finding_nothing, file)
    queries = sum(len(p.get("targets", ())) for p in json.loads(file.read_text())["panels"])
    assert len(problems) == queries
    assert all("is empty" in problem for problem in problems)
    assert ground(first) == WRONG


def test_queries_that_fail_are_red_and_told(file: Path) -> None:
    problems, first, _ = pages(refusing, file)
    assert all("no such thing" in problem for problem in problems)
    assert ground(first) == WRONG


def test_variables_that_nobody_defines_are_told(file: Path) -> None:
    file.write_text(file.read_text().replace("$group", "$grupo"))
    problems, _, _ = pages(answering, file)
    assert problems
    assert all("no such variable" in problem for problem in problems)


@pytest.fixture(params=["overview", "adaptive-compute", "workers", "cache", "tenants"])
def every(request: pytest.FixtureRequest) -> Path:
    return ROOT / FOLDER / f"{request.param}.json"


def test_all_values_of_a_variable_are_asked_for() -> None:
    job = {"name": "job", "type": "query", "query": "label_values(entroute_build_info, job)"}
    group = {"name": "group", "type": "query", "query": 'label_values(x{job=~"$job"}, group)'}
    source = {"name": "datasource", "type": "datasource", "query": "prometheus"}
    with httpx.Client(transport=httpx.MockTransport(answering), base_url="http://p") as http:
        found = chosen(http, SPAN, [source, job, {**group, "allValue": ".*"}])
        assert found == {"job": r"small|large\.1", "group": ".*"}
        with pytest.raises(ValueError, match="group: only label_values"):
            chosen(http, SPAN, [{**group, "query": "query_result(up)"}])


def test_every_kind_of_panel_can_be_drawn(every: Path, tmp_path: Path) -> None:
    with httpx.Client(transport=httpx.MockTransport(answering), base_url="http://p") as http:
        assert list(preview(http, SPAN, tmp_path, [every])) == []
    assert (tmp_path / f"{every.stem}.png").stat().st_size > 10_000
