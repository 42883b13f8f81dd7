"""What the gateway adds to a request: `python -m loadtest.bench [--json FILE]`.

Starts a fake worker that answers at once and the gateway before it, and measures each way to ask
in interleaved rounds. With two CPUs or more the gateway has one for itself. Whole answers give
requests a second, latency and CPU a request; paced streams give first-token time and CPU a chunk.
"""

import argparse
import asyncio
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import orjson
import uvloop
from rich.console import Console

from loadtest import bench_modes as modes
from loadtest.bench_report import print_report
from loadtest.client import Load, Target, percentile, run_load
from loadtest.gateway_process import Gateway, gateway
from loadtest.processes import cpu_seconds, pin, resident_megabytes
from loadtest.spawn import FakeWorker, fake_worker

_CONCURRENCIES = (1, 16, 64)
_WIDTH = 110  # columns of the report where the terminal does not say
_TOKENS = 64  # of a whole answer
_STREAM_TOKENS = 32
_CHUNKS_PER_S = 3200  # over all streams, so that no server here is at its limit
_MAX_PACE = 500  # tokens a second of one stream, within the resolution of timers


@dataclass(frozen=True, slots=True)
class Setting:
    """What is running and how long each measurement lasts, in seconds."""

    worker: FakeWorker
    gateway: Gateway
    seconds: float


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench", description=__doc__)
    parser.add_argument("--json", type=Path, help="write every number there")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.7, help="of one measurement")
    parser.add_argument("--no-pin", action="store_true", help="leave the CPUs to the kernel")
    return parser.parse_args(argv)


async def bench(given: argparse.Namespace) -> dict[str, Any]:
    """Measure everything and return medians over rounds."""
    names = list(modes.TIERS.values())
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        async with (
            fake_worker(model=names, tokens=_TOKENS) as worker,
            gateway(Path(folder), modes.TIERS, worker.url) as front,
        ):
            if not given.no_pin:
                _pin_apart(front.pid, worker.pid)
            setting = Setting(worker, front, given.seconds)
            idle = resident_megabytes(front.pid)
            whole = await _rounds(setting, modes.WHOLE, given.rounds, streamed=False)
            streams = await _rounds(setting, modes.STREAMED, given.rounds, streamed=True)
            memory = {"idle_mb": idle, "loaded_mb": resident_megabytes(front.pid)}
    return {"whole": whole, "streams": streams, "memory": memory}


async def _rounds(
    setting: Setting, compared: Sequence[modes.Mode], rounds: int, *, streamed: bool
) -> list[dict[str, Any]]:
    seen: dict[tuple[int, str], list[dict[str, float]]] = {}
    await _prepare(setting, 1, streamed=streamed)
    for mode in compared:
        await modes.check_mode(mode, _target(setting, mode, "check", streamed=streamed))
    for turn in range(rounds):
        for concurrency in _CONCURRENCIES:
            await _prepare(setting, concurrency, streamed=streamed)
            for mode in compared:
                salt = f"{turn}-{concurrency}-{streamed:d}"
                target = _target(setting, mode, salt, streamed=streamed)
                before = cpu_seconds(setting.gateway.pid)
                load = await run_load(target, concurrency, seconds=setting.seconds)
                spent = cpu_seconds(setting.gateway.pid) - before
                seen.setdefault((concurrency, mode.name), []).append(_numbers(mode, load, spent))
    return [
        {"concurrency": concurrency, "mode": name, **_medians(numbers)}
        for (concurrency, name), numbers in seen.items()
    ]


async def _prepare(setting: Setting, concurrency: int, *, streamed: bool) -> None:
    pace = min(_CHUNKS_PER_S / concurrency, _MAX_PACE) if streamed else 0
    await setting.worker.script(tokens_per_second=pace)


def _target(setting: Setting, mode: modes.Mode, salt: str, *, streamed: bool) -> Target:
    body = {"stream": True, "max_tokens": _STREAM_TOKENS} if streamed else {"max_tokens": _TOKENS}
    return mode.target(setting.worker.url, setting.gateway.url, body, salt)


def _numbers(mode: modes.Mode, load: Load, cpu_s: float) -> dict[str, float]:
    if load.errors:
        raise RuntimeError(f"{mode.name}: {load.errors}")
    spent_us = 0.0 if mode.direct else cpu_s * 1e6
    return {
        "requests_per_s": load.rate,
        "p50_us": percentile(load.latencies, 0.5) * 1e6,
        "p99_us": percentile(load.latencies, 0.99) * 1e6,
        "ttft_us": percentile(load.ttfts, 0.5) * 1e6,
        "cpu_us_per_request": spent_us / len(load.latencies),
        "cpu_us_per_chunk": spent_us / load.events if load.events else 0.0,
    }


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: median(one[name] for one in rounds) for name in rounds[0]}


def _pin_apart(front: int, worker: int) -> None:
    """Give the gateway a CPU of its own; worker and load generator share the others."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) > 1:
        pin(front, {cpus[0]})
        pin(worker, set(cpus[1:]))
        pin(os.getpid(), set(cpus[1:]))


def main() -> None:
    """Run the bench."""
    given = arguments()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        results = runner.run(bench(given))
    if given.json:
        given.json.write_bytes(orjson.dumps(results, option=orjson.OPT_INDENT_2))
    print_report(Console(width=max(Console().width, _WIDTH)), results)


if __name__ == "__main__":
    main()
