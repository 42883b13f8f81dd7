"""The fake worker's page of metrics, beside the one captured from a real vLLM."""

from collections.abc import Mapping
from pathlib import Path

import aiohttp
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from loadtest.engine import Counters
from loadtest.spawn import FakeWorker, fake_worker
from loadtest.worker_metrics import exposition

CAPTURED = Path(__file__).parents[1] / "vllm" / "metrics_0_32.txt"
BODY = {"model": "small", "messages": [{"role": "user", "content": "one two three"}]}
QUIET = exposition(Counters(), "small", 1000).decode()


def families(page: str) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(page)}


def shapes(page: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Return the type and the label names of every series, by its name."""
    return {
        sample.name: (family.type, frozenset(sample.labels))
        for family in families(page).values()
        for sample in family.samples
    }


async def page_after(worker: FakeWorker, *bodies: Mapping[str, object]) -> dict[str, Metric]:
    """Return the page once the worker has answered."""
    async with aiohttp.ClientSession() as session:
        for body in bodies:
            async with session.post(f"{worker.url}/v1/chat/completions", json=body) as answer:
                assert answer.status == 200
                await answer.read()
        async with session.get(f"{worker.url}/metrics") as answer:
            return families(await answer.text())


def value(page: dict[str, Metric], family: str, series: str, **labels: str) -> float:
    (found,) = (
        sample.value
        for sample in page[f"vllm:{family}"].samples
        if sample.name == f"vllm:{series}" and labels.items() <= sample.labels.items()
    )
    return found


def test_every_name_type_and_label_is_a_real_vllms() -> None:
    captured = shapes(CAPTURED.read_text())
    mine = shapes(QUIET)
    assert {name: shape for name, shape in mine.items() if captured.get(name) != shape} == {}
    assert len(mine) >= 30


def test_buckets_rise_to_infinity_and_end_at_the_count() -> None:
    histograms = [family for family in families(QUIET).values() if family.type == "histogram"]
    assert len(histograms) == 8
    for family in histograms:
        bounds = [float(s.labels["le"]) for s in family.samples if s.name.endswith("_bucket")]
        assert bounds == sorted(set(bounds))
        assert bounds[-1] == float("inf")


async def test_requests_are_spread_over_buckets_by_what_they_took() -> None:
    async with fake_worker(model="small", tokens=5, ttft_ms=60, tokens_per_second=20) as worker:
        page = await page_after(worker, {**BODY, "stream": True}, BODY)
    assert value(page, "e2e_request_latency_seconds", "e2e_request_latency_seconds_count") == 2
    first, between = "time_to_first_token_seconds", "inter_token_latency_seconds"
    assert value(page, first, f"{first}_bucket", le="0.04") == 0
    assert value(page, first, f"{first}_count") == 2
    assert value(page, first, f"{first}_sum") >= 0.12
    assert value(page, between, f"{between}_count") == 2 * 4
    assert value(page, between, f"{between}_sum") >= 2 * 4 * 0.045
    assert value(page, "request_generation_tokens", "request_generation_tokens_sum") == 10
    assert value(page, "request_prompt_tokens", "request_prompt_tokens_sum") == 2 * 5


async def test_at_full_speed_all_tokens_but_the_first_follow_at_once() -> None:
    async with fake_worker(model="small", tokens=5) as worker:
        page = await page_after(worker, BODY, {**BODY, "n": 2}, {**BODY, "max_tokens": 1})
    between = "inter_token_latency_seconds"
    assert value(page, between, f"{between}_count") == 3 * 4
    assert value(page, between, f"{between}_sum") == 0
    assert value(page, "request_queue_time_seconds", "request_queue_time_seconds_count") == 3


async def test_waiting_for_a_place_counts_towards_the_first_token() -> None:
    streamed = {**BODY, "stream": True}
    async with (
        fake_worker(model="small", ttft_ms=300, max_num_seqs=1) as worker,
        aiohttp.ClientSession() as session,
    ):
        url = f"{worker.url}/v1/chat/completions"
        async with session.post(url, json=streamed) as one, session.post(url, json=streamed) as two:
            await one.read()
            await two.read()
        page = await page_after(worker)
    queued = value(page, "request_queue_time_seconds", "request_queue_time_seconds_sum")
    assert queued >= 0.1
    whole = value(page, "time_to_first_token_seconds", "time_to_first_token_seconds_sum")
    assert whole >= 0.6 + queued * 0.9
