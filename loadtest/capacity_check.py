"""Holds the simulated queue and balancing against the real gateway before fake workers.

    python -m loadtest.capacity_check --workers 2 --places 4 --load 0.85 --requests 600

The same requests, at the same times, are asked of both. Fake workers make tokens at a fixed pace:
what is compared is the gateway's queue, caps and balancer, not the times of a real engine.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import aiohttp

from entroute.evaluation.lengths import Arrival
from entroute.evaluation.sizing_workers import Worker
from entroute.evaluation.step_times import IdealisedSteps
from loadtest.capacity_fleet import Fleet, TierSpec
from loadtest.capacity_measures import percentile
from loadtest.capacity_traffic import always
from loadtest.gateway_process import gateway
from loadtest.spawn import fake_worker

_TOKENS_PER_S = 50.0
_TTFT_S = 0.1
_MEAN_TOKENS = 40
_LEVELS = (0.5, 0.9, 0.95, 0.99)


def arrivals_of(given: argparse.Namespace) -> list[Arrival]:
    """Return requests at random times whose answers are as long as a geometric draw."""
    rng = Random(given.seed)
    service_s = _TTFT_S + (_MEAN_TOKENS - 1) / _TOKENS_PER_S
    rate = given.load * given.workers * given.places / service_s
    at_s, found = 0.0, []
    for _ in range(given.requests):
        at_s += rng.expovariate(rate)
        found.append(Arrival(at_s, 1, 1 + int(rng.expovariate(1 / (_MEAN_TOKENS - 1)))))
    return found


def simulated(given: argparse.Namespace, arrivals: Sequence[Arrival]) -> list[tuple[float, float]]:
    """Return first token and end of each, in seconds from its arrival.

    A fake worker reads all prompts side by side: here reading is so many tokens more to write.
    """
    reading = round(_TTFT_S * _TOKENS_PER_S)
    longer = [replace(arrival, answer=arrival.answer + reading) for arrival in arrivals]
    worker = Worker(IdealisedSteps(0.0, 1 / _TOKENS_PER_S), given.places)
    spec = TierSpec(worker, given.workers, "least_loaded", given.places)
    asked = Fleet({"small": spec}, always("small"), Random(given.seed)).run(longer)
    return [(a.first_s + _TTFT_S - a.arrival.at_s, a.done_s - a.arrival.at_s) for a in asked]


async def real(given: argparse.Namespace, arrivals: Sequence[Arrival]) -> list[tuple[float, float]]:
    """Return the same of a running gateway."""
    flags = {"model": "small", "tokens": 10_000, "tokens_per_second": _TOKENS_PER_S}
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        workers = [
            await stack.enter_async_context(fake_worker(**flags, ttft_ms=_TTFT_S * 1e3))
            for _ in range(given.workers)
        ]
        tier = {
            "name": "small",
            "model": "small",
            "balancer": "least_loaded",
            "max_in_flight": given.places,
            "workers": [{"url": f"{worker.url}/v1"} for worker in workers],
        }
        queue = {"size": 10_000, "timeout_s": 600}
        running = await stack.enter_async_context(
            gateway(folder, {}, "", changes={"tiers": [tier], "queue": queue})
        )
        limit = aiohttp.ClientTimeout(total=600)
        connector = aiohttp.TCPConnector(limit=0)
        session = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=limit, connector=connector)
        )
        began = time.perf_counter()
        asking = [_once(session, running.url, began, one) for one in arrivals]
        return list(await asyncio.gather(*asking))


async def _once(
    session: aiohttp.ClientSession, url: str, began: float, arrival: Arrival
) -> tuple[float, float]:
    await asyncio.sleep(max(0.0, began + arrival.at_s - time.perf_counter()))
    body: dict[str, Any] = {"model": "small", "stream": True, "max_tokens": arrival.answer}
    body["messages"] = [{"role": "user", "content": f"request at {arrival.at_s}"}]
    first_s = 0.0
    async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
        answer.raise_for_status()
        async for line in answer.content:
            if not first_s and b'"content":"' in line and b'"content":""' not in line:
                first_s = time.perf_counter() - began - arrival.at_s
    return first_s, time.perf_counter() - began - arrival.at_s


def main(argv: Sequence[str] | None = None) -> None:
    """Ask both and print their percentiles."""
    given = _parser().parse_args(argv)
    arrivals = arrivals_of(given)
    both = {"simulated": simulated(given, arrivals), "real": asyncio.run(real(given, arrivals))}
    for name, times in both.items():
        for what, values in zip(("ttft", "e2e"), zip(*times, strict=True), strict=True):
            row = {f"p{100 * level:g}": round(percentile(values, level), 3) for level in _LEVELS}
            print(json.dumps({"of": name, "time": what, "mean": round(fmean(values), 3), **row}))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.capacity_check", description=__doc__)
    option = parser.add_argument
    option("--workers", type=int, default=2)
    option("--places", type=int, default=4, help="calls that a worker takes at once")
    option("--load", type=float, default=0.85, help="of all places, in the mean")
    option("--requests", type=int, default=600)
    option("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
