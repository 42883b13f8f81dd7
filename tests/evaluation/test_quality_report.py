import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from entroute.evaluation.quality_report import (
    Curve,
    CurveFigure,
    Report,
    Table,
    draw_svg,
    render_html,
    report_json,
)

FIGURE = CurveFigure(
    title="Quality <against> cost",
    cost="cost in $ & more",
    quality="share right",
    curves=(
        Curve("_uniform", ((2.0, 0.7, 0.6, 0.8), (1.0, 0.5, 0.4, 0.6), (3.0, 0.75, 0.7, 0.8))),
        Curve("one $point$ & a half", ((1.5, 0.7, 0.65, 0.72),)),
        Curve("no interval", ((1.0, 0.4, None, None), (2.0, 0.5, None, None))),
    ),
    note="Read it <slowly>.",
)
REPORT = Report(
    title="Plans & <b>budgets</b>",
    command="entroute replay --rule 'a & b'",
    facts={"seed": "0", "<file>": "a&b.jsonl"},
    figures=(FIGURE,),
    tables=(Table("Rules <1>", ("rule", "samples"), (("<i>reasc</i>", "3.2"),), "All of them."),),
)
VOID = {"meta"}


class Page(HTMLParser):
    """Follows the tags of a page and keeps its words."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data.strip())


def read(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.close()
    assert not page.open
    return page


def test_a_page_holds_what_the_report_says_and_nothing_it_says_is_markup() -> None:
    page = read(render_html(REPORT))
    assert page.text.count("Plans & <b>budgets</b>") == 2  # title and heading
    for words in ("entroute replay --rule 'a & b'", "<file>", "a&b.jsonl", "<i>reasc</i>", "3.2"):
        assert words in page.text
    for words in ("Quality <against> cost", "Rules <1>", "All of them.", "Read it <slowly>."):
        assert words in page.text
    assert "b" not in page.tags
    assert "i" not in page.tags


def test_a_page_asks_no_host_for_anything() -> None:
    html = render_html(REPORT)
    page = read(html)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not re.search(r"(?:src|href)=\"(?!#)", html)
    assert "url(" not in re.sub(r"url\(#[^)]*\)", "", html)
    assert "@import" not in html


def test_the_same_report_gives_the_same_page() -> None:
    assert render_html(REPORT) == render_html(REPORT)
    assert not re.search(r"20\d\d-\d\d-\d\d", render_html(REPORT))


def test_a_page_follows_light_and_dark_and_so_do_its_figures() -> None:
    html = render_html(REPORT)
    assert "prefers-color-scheme: dark" in html
    svg = draw_svg(FIGURE)
    assert svg.count("currentColor") > 10
    assert "#000000" not in svg
    assert "#ffffff" not in svg


def test_a_figure_names_its_axes_and_curves_as_they_are_written() -> None:
    page = read(draw_svg(FIGURE))
    for words in ("cost in $ & more", "share right", "one $point$ & a half", "no interval"):
        assert words in page.text
    assert "uniform" in page.text  # a leading line would have hidden it


def test_a_figure_says_what_it_is_to_those_who_cannot_see_it() -> None:
    assert 'role="img" aria-label="Quality &lt;against&gt; cost: share right against' in draw_svg(
        FIGURE
    )


def test_a_curve_is_drawn_from_cheap_to_dear_whatever_its_order() -> None:
    turned = replace(FIGURE, curves=tuple(replace(c, points=c.points[::-1]) for c in FIGURE.curves))
    assert draw_svg(turned) == draw_svg(FIGURE)


def test_a_figure_without_curves_is_still_a_figure() -> None:
    assert draw_svg(replace(FIGURE, curves=())).startswith("<svg")


def test_a_report_without_figures_and_facts_is_a_page() -> None:
    assert "svg" not in read(render_html(Report("title", "command"))).tags


def test_a_row_of_the_wrong_length_is_refused() -> None:
    table = Table("Rules", ("rule", "samples"), (("reasc",),))
    with pytest.raises(ValueError, match="a row of 1 cells in 2 columns"):
        render_html(Report("t", "c", tables=(table,)))


def test_the_values_are_plain_json() -> None:
    found = json.loads(json.dumps(report_json(REPORT)))
    assert found["title"] == REPORT.title
    assert found["figures"][0]["curves"][1] == {
        "label": "one $point$ & a half",
        "points": [[1.5, 0.7, 0.65, 0.72]],
    }
    assert found["tables"][0]["rows"] == [["<i>reasc</i>", "3.2"]]


def test_without_matplotlib_the_message_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from entroute.errors import ConfigurationError\n"
        "from entroute.evaluation.quality_report import CurveFigure, draw_svg\n"
        "try:\n"
        "    draw_svg(CurveFigure('t', 'c', 'q', ()))\n"
        "except ConfigurationError as error:\n"
        "    print(error)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert "pip install 'entroute[plots]'" in ran.stdout
