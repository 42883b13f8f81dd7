"""What every fault of Redis does to answers: `python -m loadtest.redis_faults`.

A real gateway with a cache and a limited key in a real Redis, in front of a fake worker, gets a
steady stream of cacheable requests before, during and after each fault. Prints a Markdown table.
"""

import argparse
import asyncio
import hashlib
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from loadtest.client import percentile
from loadtest.gateway_process import gateway
from loadtest.redis_fault_kinds import FAULTS, Stage
from loadtest.spawn import fake_worker

_SECRET = "key-for-this-measurement-only"  # noqa: S105 - of a gateway that ends with it
_PHASES = ("before", "during", "after")


@dataclass(frozen=True, slots=True)
class Answer:
    """One request: when it was sent (s), how long it took (s), its status (0: none), the cache."""

    at: float
    latency_s: float
    status: int
    cache: str


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is sent: requests a second, seconds a phase, different prompts."""

    rate: float
    seconds: float
    prompts: int


async def measured(fault: str, traffic: Traffic, worker_url: str) -> str:
    """Return one row of the table."""
    async with FAULTS[fault]() as stage:
        with tempfile.TemporaryDirectory() as folder:
            changes = _changes(Path(folder), stage.url)
            async with gateway(
                Path(folder), {"small": "fake"}, worker_url, changes=changes
            ) as running:
                url = f"{running.url}/v1/chat/completions"
                return await _through(fault, stage, traffic, url)


def _changes(folder: Path, redis_url: str) -> dict[str, object]:
    keys = folder / "keys.yaml"
    entry = {
        "name": "measurement",
        "tenant": "measurement",
        "sha256": hashlib.sha256(_SECRET.encode()).hexdigest(),
        "limits": {"requests_per_minute": 1_000_000},
    }
    keys.write_text(json.dumps({"keys": [entry]}), encoding="utf-8")
    return {
        "redis": {"url": redis_url},
        "cache": {"kind": "redis"},
        "auth": {"keys_file": str(keys)},
        "policy": {"kind": "static"},
    }


async def _through(fault: str, stage: Stage, traffic: Traffic, url: str) -> str:
    """Send before, during and after the fault."""
    headers = {"authorization": f"Bearer {_SECRET}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        await _sent(session, url, traffic)  # the cache is full and everything is connected
        before = await _sent(session, url, traffic)
        broken = time.perf_counter()
        await stage.begin()
        during = await _sent(session, url, traffic)
        mended = broken
        if stage.end is not None:
            mended = time.perf_counter()
            await stage.end()
        after = await _sent(session, url, traffic)
    return _row(fault, [before, during, after], mended)


async def _sent(session: aiohttp.ClientSession, url: str, traffic: Traffic) -> list[Answer]:
    """Send at a steady rate, whatever becomes of the answers."""
    start = time.perf_counter()
    asked = []
    for number in range(round(traffic.rate * traffic.seconds)):
        await asyncio.sleep(start + number / traffic.rate - time.perf_counter())
        prompt = f"What is {number % traffic.prompts} plus one?"
        asked.append(asyncio.create_task(_asked(session, url, prompt)))
    return await asyncio.gather(*asked)


async def _asked(session: aiohttp.ClientSession, url: str, prompt: str) -> Answer:
    body = {"model": "small", "temperature": 0, "messages": [{"role": "user", "content": prompt}]}
    start = time.perf_counter()
    try:
        async with session.post(url, json=body) as answer:
            await answer.read()
            status, cache = answer.status, answer.headers.get("x-entroute-cache", "")
    except aiohttp.ClientError:
        status, cache = 0, ""
    return Answer(start, time.perf_counter() - start, status, cache)


def _row(fault: str, phases: Sequence[Sequence[Answer]], since: float) -> str:
    answers = [answer for phase in phases for answer in phase]
    good = sum(answer.status == 200 for answer in answers)
    hits = [_hits(phase) for phase in phases]
    times = [_times(phase) for phase in phases]
    cells = [fault, str(len(answers)), str(good), str(len(answers) - good)]
    return f"| {' | '.join([*cells, *hits, *times, _served_again(answers, since)])} |"


def _hits(phase: Sequence[Answer]) -> str:
    return f"{sum(answer.cache == 'exact' for answer in phase) / len(phase):.0%}"


def _times(phase: Sequence[Answer]) -> str:
    times = [answer.latency_s * 1e3 for answer in phase]
    return f"{percentile(times, 0.5):.0f} / {percentile(times, 0.99):.0f}"


def _served_again(answers: Sequence[Answer], since: float) -> str:
    """Return the seconds from the mending, or the fault, to the first hit after it."""
    hits = [a.at + a.latency_s - since for a in answers if a.cache == "exact" and a.at >= since]
    return f"{min(hits):.2f}" if hits else "never"


async def report(traffic: Traffic, faults: Sequence[str]) -> None:
    """Print the table, a row as soon as it is measured."""
    share = [f"hits {phase}" for phase in _PHASES]
    times = [f"p50 / p99 ms {phase}" for phase in _PHASES]
    head = ["fault", "requests", "200", "errors", *share, *times, "s until the cache serves again"]
    print(f"| {' | '.join(head)} |")
    print(f"|{' --- |' * len(head)}", flush=True)
    async with fake_worker(model="fake", ttft_ms=20, tokens=5) as worker:
        for fault in faults:
            print(await measured(fault, traffic, worker.url), flush=True)


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.redis_faults", description=__doc__)
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each of three phases")
    parser.add_argument("--prompts", type=int, default=20, help="different ones")
    parser.add_argument("--fault", action="append", choices=list(FAULTS), help="may be repeated")
    given = parser.parse_args()
    traffic = Traffic(given.rate, given.seconds, given.prompts)
    asyncio.run(report(traffic, given.fault or list(FAULTS)))


if __name__ == "__main__":
    main()
