"""Reading a Prometheus page: sums over series, and waiting for a gauge."""

import asyncio
import re
import time

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

VLLM_NAME = re.compile(r"vllm:[a-z0-9_]+")
RUNNING = "vllm:num_requests_running"
GENERATED = "vllm:generation_tokens_total"
PROMPTED = "vllm:prompt_tokens_total"


async def page(url: str) -> str:
    """Return the metrics page of the server at `url` (no path)."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as response:
        response.raise_for_status()
        return await response.text()


def total(text: str, name: str, **labels: str) -> float:
    """Return the sum of the samples of `name` whose labels include `labels`; 0 if none does."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def sample_names(text: str) -> set[str]:
    """Return the names of all samples of a page."""
    return {
        sample.name for family in text_string_to_metric_families(text) for sample in family.samples
    }


async def seconds_until(url: str, name: str, value: float, *, within_s: float) -> float:
    """Return how many seconds it took until the sum over `name` was `value`.

    Raises:
        TimeoutError: It was not within `within_s` seconds.
    """
    started = time.monotonic()
    while (now := total(await page(url), name)) != value:
        if time.monotonic() - started > within_s:
            raise TimeoutError(f"{name} at {url} is {now}, not {value}, after {within_s} s")
        await asyncio.sleep(0.02)
    return time.monotonic() - started
