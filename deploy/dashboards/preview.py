"""Show the dashboards without Grafana: `python -m deploy.dashboards.preview --prometheus URL`.

Asks a Prometheus every query of every panel and draws one page a dashboard, HTML and PNG. Panels
that fail or find nothing are red, are named on stderr, and make the exit code 1. Needs the extra
`plots`.
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from deploy.dashboards.boards import FOLDER
from deploy.dashboards.preview_answers import Span, ask, chosen
from deploy.dashboards.preview_drawing import drawn
from deploy.dashboards.preview_page import Shown, html, picture
from deploy.dashboards.preview_panels import panels

ROOT = Path(__file__).resolve().parents[2]
POINTS = 240
"""Points of a curve that Grafana would ask for on a panel of usual width, about."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_AGO = re.compile(r"now(?:-(\d+)([smhd]))?")


@dataclass(frozen=True, slots=True)
class Empty:
    """A panel that shows nothing, and why."""

    dashboard: str
    panel: str
    problem: str


def moment(said: str, now: float) -> float:
    """Return seconds since the epoch of `now`, `now-3h` or a number.

    Raises:
        ValueError: It is none of them.
    """
    found = _AGO.fullmatch(said)
    if found is None:
        return float(said)
    return now - (int(found[1]) * _UNITS[found[2]] if found[1] else 0)


def spanned(start: float, end: float, scrape_s: float) -> Span:
    """Return a span with Grafana's own step and rate interval for a scrape interval."""
    step_s = max(scrape_s, (end - start) / POINTS)
    return Span(start, end, step_s, max(step_s + scrape_s, 4 * scrape_s))


def preview(
    http: httpx.Client, span: Span, out: Path, files: Sequence[Path] | None = None
) -> Iterator[Empty]:
    """Write every dashboard's page; yield the panels that show nothing.

    Args:
        http: Has Prometheus's address.
        span: The time to show.
        out: Folder for the pages.
        files: Dashboards; all of the chart's if left out.
    """
    wanted = sorted((ROOT / FOLDER).glob("*.json")) if files is None else files
    out.mkdir(parents=True, exist_ok=True)
    for file in wanted:
        dashboard = json.loads(file.read_text(encoding="utf-8"))
        values = chosen(http, span, dashboard["templating"]["list"])
        shown: list[Shown] = []
        for panel in panels(dashboard):
            answer = ask(http, panel, span, values)
            heading = panel.kind == "row"
            shown.append(Shown(panel, b"" if heading else drawn(panel, answer, span)))
            yield from (Empty(file.stem, panel.title, each) for each in answer.problems)
        told = (dashboard["title"], dashboard["description"], span, shown)
        (out / f"{file.stem}.html").write_text(html(*told), encoding="utf-8")
        (out / f"{file.stem}.png").write_bytes(picture(*told))


def main(arguments: Sequence[str]) -> int:
    """Draw the pages.

    Returns:
        The exit code: 1 where a panel fails or shows nothing.
    """
    parser = argparse.ArgumentParser(prog="python -m deploy.dashboards.preview")
    parser.add_argument("--prometheus", required=True, help="its address, http://host:port")
    parser.add_argument("--from", dest="start", default="now-3h", help="now-3h or epoch seconds")
    parser.add_argument("--to", dest="end", default="now", help="now or epoch seconds")
    parser.add_argument("--scrape-s", type=float, default=15, help="seconds between scrapes")
    parser.add_argument("--out", type=Path, default=Path("preview"), help="folder for the pages")
    told = parser.parse_args(arguments)
    now = time.time()
    span = spanned(moment(told.start, now), moment(told.end, now), told.scrape_s)
    with httpx.Client(base_url=told.prometheus) as http:
        empty = list(preview(http, span, told.out))
    for each in empty:
        print(f"{each.dashboard}: {each.panel}: {each.problem}", file=sys.stderr)
    print(f"{told.out}: {len(empty)} queries failed or found nothing")
    return int(bool(empty))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
