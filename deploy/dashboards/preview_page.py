"""One dashboard as a page: panels in their own grid, as HTML and as one picture."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from PIL import Image, ImageDraw, ImageFont

from deploy.dashboards.preview_answers import Span
from deploy.dashboards.preview_canvas import COLUMN, GAP, INK, ROW, size
from deploy.dashboards.preview_panels import Panel

MARGIN, HEAD = 12, 44
PAGE = "#f4f5f7"
HUES = 255
"""Colours of the whole picture: panels are flat, and it takes a third of the bytes."""

_STYLE = f"""
body {{ margin: {MARGIN}px; background: {PAGE}; color: {INK}; }}
body {{ font: 14px/1.4 system-ui, sans-serif; }}
main {{ display: grid; grid-template-columns: repeat(24, {COLUMN}px); grid-auto-rows: {ROW}px; }}
h2 {{ grid-column: 1 / -1; margin: 4px 0 0; font-size: 15px; }}
figure {{ margin: 0; }} figure img {{ display: block; }}
"""


@dataclass(frozen=True, slots=True)
class Shown:
    """A panel and its picture, which headings of rows have none of."""

    panel: Panel
    picture: bytes


def html(title: str, summary: str, span: Span, shown: Sequence[Shown]) -> str:
    """Return a page that needs nothing else; a panel's description shows where one points."""
    parts = "\n".join(_part(each) for each in shown)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1>"
        f"<p>{escape(summary)} {escape(_when(span))}</p><main>{parts}</main></html>\n"
    )


def picture(title: str, summary: str, span: Span, shown: Sequence[Shown]) -> bytes:
    """Return the whole page as one PNG."""
    bottom = max(top + height for each in shown for _, top, _, height in (each.panel.box,))
    page = Image.new("RGB", (24 * COLUMN - GAP + 2 * MARGIN, bottom * ROW + HEAD + MARGIN), PAGE)
    pen = ImageDraw.Draw(page)
    pen.text((MARGIN, 10), title, INK, _font(18))
    pen.text((MARGIN + 300, 14), f"{summary} {_when(span)}", INK, _font(12))
    for each in shown:
        left, top, _, _ = each.panel.box
        corner = (MARGIN + left * COLUMN, HEAD + top * ROW)
        if each.picture:
            page.paste(Image.open(io.BytesIO(each.picture)), corner)
        else:
            pen.text((corner[0], corner[1] + 8), each.panel.title, INK, _font(14))
    out = io.BytesIO()
    few = page.quantize(HUES, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(out, "PNG", optimize=True)
    return out.getvalue()


def _part(each: Shown) -> str:
    left, top, width, height = each.panel.box
    title = escape(each.panel.title)
    if not each.picture:
        return f'<h2 style="grid-row: {top + 1}">{title}</h2>'
    area = f"grid-area: {top + 1} / {left + 1} / span {height} / span {width}"
    data = base64.b64encode(each.picture).decode()
    wide, high = size(each.panel)
    return (
        f'<figure style="{area}" title="{escape(each.panel.says)}">'
        f'<img alt="{title}" width="{wide}" height="{high}" src="data:image/png;base64,{data}">'
        "</figure>"
    )


def _when(span: Span) -> str:
    start, end = (datetime.fromtimestamp(at, UTC) for at in (span.start, span.end))
    return f"{start:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S} UTC"


def _font(points: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(points)
