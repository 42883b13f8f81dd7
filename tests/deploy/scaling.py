"""Values of charts whose gateway and tiers scale, by either kind of scaler."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from tests.deploy.cases import PROFILES, profiles, values, worker
from tests.deploy.chart import rendered
from tests.deploy.queries import Query, chart_queries

SERVED: Mapping[str, int] = {"small": 1, "large": 2}
"""Models as the stage's workers serve them, and their ranks."""


def scaling(kind: Literal["hpa", "keda"]) -> dict[str, Any]:
    """Return values whose tiers serve the stage's models and scale, as the gateway does."""
    tiers = {
        name: worker(rank, name, autoscaling={"kind": kind, "maxReplicas": 4})
        for name, rank in SERVED.items()
    }
    more = {"gateway": {"autoscaling": {"kind": kind, "maxReplicas": 8}}}
    return values(tiers, prometheus={"serverAddress": "http://prometheus:9090"}, **more)


def scaler_queries(helm: Path) -> list[Query]:
    """Return what autoscalers ask that serve the stage's models, of both kinds."""
    return [
        query
        for kind in ("hpa", "keda")
        for query in chart_queries(rendered(helm, scaling(kind)), f"chart, {kind}")
        if query.kind == "scaler"
    ]


def profile_queries(helm: Path) -> list[Query]:
    """Return every query that the chart renders of its profiles, rules among them."""
    return [
        query
        for name in profiles()
        for query in chart_queries(rendered(helm, PROFILES / f"{name}.yaml"), f"profile {name}")
    ]
