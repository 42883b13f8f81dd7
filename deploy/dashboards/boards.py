"""All dashboards, and the files that they are written to."""

from collections.abc import Callable, Mapping
from functools import partial

from deploy.dashboards import adaptive_compute, cache, overview, tenants, workers
from deploy.dashboards.layout import Board, text

FOLDER = "helm/entroute/files/dashboards"
"""From the repository's root; in the chart, since a chart packages only its own folder."""


def boards() -> tuple[Board, ...]:
    """Return every dashboard, in the order in which they are linked."""
    return (
        overview.board(),
        adaptive_compute.board(),
        workers.board(),
        cache.board(),
        tenants.board(),
    )


def files() -> Mapping[str, Callable[[], str]]:
    """Return what writes each dashboard's file, by its path from the repository's root."""
    made = boards()
    titles = {board.uid: board.title for board in made}
    return {
        f"{FOLDER}/{board.uid.removeprefix('entroute-')}.json": partial(text, board, titles)
        for board in made
    }
