"""The names of vLLM's metrics that this repository relies on, on a real page."""

from pathlib import Path

import pytest

from tests.vllm.metrics import VLLM_NAME, page, sample_names

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(420)]

ROOT = Path(__file__).parents[2]
CAPTURED = Path(__file__).with_name("metrics_0_32.txt")
USERS = ("service", "deploy", "helm", "loadtest")
SUFFIXES = {".py", ".yaml", ".yml", ".json", ".tpl", ".md"}


def names_relied_on() -> dict[str, str]:
    """Return every vLLM metric named in what is shipped, and one file that names it."""
    return {
        name: str(path.relative_to(ROOT))
        for folder in USERS
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in SUFFIXES
        for name in VLLM_NAME.findall(path.read_text())
    }


def series(text: str) -> set[str]:
    return {name for name in sample_names(text) if name.startswith("vllm:")}


async def test_every_vllm_metric_named_in_the_repository_is_exported(vllm_url: str) -> None:
    relied_on = names_relied_on()
    exported = series(await page(vllm_url))

    missing = {name: path for name, path in relied_on.items() if name not in exported}
    assert relied_on
    assert missing == {}


async def test_the_captured_page_names_what_the_real_one_does(vllm_url: str) -> None:
    captured = series(CAPTURED.read_text())

    assert captured == series(await page(vllm_url))
    assert {"vllm:num_requests_running", "vllm:kv_cache_usage_perc"} <= captured
