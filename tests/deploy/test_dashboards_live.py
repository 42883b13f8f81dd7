"""Every panel on the stage: a real Prometheus has something to show for each."""

from pathlib import Path

import httpx
import pytest

from deploy.dashboards.preview import preview
from tests.deploy.pictures import shown
from tests.deploy.stage import Stage

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(300)]


def test_no_panel_fails_or_is_empty(stage: Stage, tmp_path: Path) -> None:
    with httpx.Client(base_url=stage.prometheus.url) as http:
        empty = list(preview(http, shown(stage, stage.ended), tmp_path))
    assert empty == []
    assert {path.stem for path in tmp_path.glob("*.png")} == {
        "overview",
        "adaptive-compute",
        "workers",
        "cache",
        "tenants",
    }
