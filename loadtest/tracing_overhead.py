"""What tracing costs: `python -m loadtest.tracing_overhead [--before FOLDER] [--json FILE]`.

Gateways that differ in nothing but tracing, each in a process of its own before one fake worker,
are asked in turn, a few requests a turn, so that whatever else the machine does meets all of them
alike. Told is the CPU of a request, and its ratio to that with tracing off.
"""

import argparse
import asyncio
import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from loadtest.decision_overhead import ratio_interval
from loadtest.spawn import ROOT, fake_worker

_CLOCKS = ("loop_us", "process_us")
_ASKED: Mapping[str, Mapping[str, Any]] = {
    "single": {"model": "small"},
    "self_consistency": {"model": "auto", "entroute": {"strategy": "self_consistency"}},
}


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.tracing_overhead")
    parser.add_argument("--before", type=Path, help="source root of an earlier version")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--requests", type=int, default=20, help="of one turn")
    parser.add_argument("--json", type=Path, help="write every number there")
    return parser.parse_args(argv)


async def measured(given: argparse.Namespace) -> dict[str, Any]:
    """Return the CPU of requests by what is asked and how it is traced."""
    found = {}
    async with fake_worker(model="qwen-small", tokens=16) as worker:
        with _collector() as endpoint:
            for name, fields in _ASKED.items():
                settings = _settings(worker.url)
                ways = _ways(settings, endpoint, given.before)
                found[name] = await _compared(ways, _body(fields), given)
    return found


def _settings(worker: str) -> dict[str, Any]:
    tier = {"name": "small", "model": "qwen-small", "workers": [{"url": f"{worker}/v1"}]}
    return {"tiers": [tier], "cache": {"kind": "off"}}


def _body(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "What is 17 * 3?"}], **fields}


def _ways(
    settings: Mapping[str, Any], endpoint: str, before: Path | None
) -> dict[str, tuple[Mapping[str, Any], Path]]:
    """Return settings and source root of every gateway that is compared."""
    here = ROOT / "service"

    def traced(sample: float) -> Mapping[str, Any]:
        return {**settings, "tracing": {"endpoint": endpoint, "sample": sample}}

    ways = {"off": (settings, here), "on": (traced(1.0), here), "unsampled": (traced(0.0), here)}
    return {**ways, "again off": (settings, here)} | (
        {"before": (settings, before)} if before is not None else {}
    )


async def _compared(
    ways: Mapping[str, tuple[Mapping[str, Any], Path]],
    body: Mapping[str, Any],
    given: argparse.Namespace,
) -> dict[str, dict[str, Any]]:
    rng = Random(1)
    seen: dict[str, dict[str, list[float]]] = {way: {c: [] for c in _CLOCKS} for way in ways}
    async with AsyncExitStack() as stack:
        children = {
            way: await stack.enter_async_context(_child(settings, source, body))
            for way, (settings, source) in ways.items()
        }
        for turn in range(-3, given.rounds):  # the first ones only warm up
            for way in rng.sample(sorted(ways), len(ways)):
                cost = await _turn(children[way], given.requests)
                for clock in _CLOCKS if turn >= 0 else ():
                    seen[way][clock].append(cost[clock])
    return {way: _numbers(costs, seen["off"], rng) for way, costs in seen.items()}


def _numbers(
    costs: Mapping[str, list[float]], off: Mapping[str, list[float]], rng: Random
) -> dict[str, Any]:
    numbers: dict[str, Any] = {}
    for clock in _CLOCKS:
        low, high = ratio_interval(costs[clock], off[clock], rng)
        ratio = median(costs[clock]) / median(off[clock])
        numbers[clock] = {"median": median(costs[clock]), "ratio": ratio, "interval": [low, high]}
    return numbers


@asynccontextmanager
async def _child(
    settings: Mapping[str, Any], source: Path, body: Mapping[str, Any]
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "loadtest" / "tracing_child.py")),
        *(json.dumps(dict(settings)), json.dumps(dict(body))),
        env={**os.environ, "PYTHONPATH": str(source)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()


async def _turn(process: asyncio.subprocess.Process, requests: int) -> dict[str, float]:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("a child without pipes")
    process.stdin.write(b"%d\n" % requests)
    await process.stdin.drain()
    line = await process.stdout.readline()
    if not line:
        raise RuntimeError("a gateway ended; what it wrote says why")
    cost: dict[str, float] = json.loads(line)
    return cost


@contextmanager
def _collector() -> Iterator[str]:
    """Run a collector that takes everything; yield where spans are posted."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/traces"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def report(found: Mapping[str, Any]) -> str:
    """Return the numbers as a table."""
    lines = [
        "asked             traced      loop us  ratio [95 %]           process us  ratio [95 %]"
    ]
    for asked, ways in found.items():
        for way, numbers in ways.items():
            cells = [
                f"{n['median']:8.0f}  {n['ratio']:.3f} [{n['interval'][0]:.3f}, "
                f"{n['interval'][1]:.3f}]"
                for n in (numbers[clock] for clock in _CLOCKS)
            ]
            lines.append(f"{asked:17} {way:10} {cells[0]}  {cells[1]}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    given = arguments(argv)
    found = asyncio.run(measured(given))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(report(found))


if __name__ == "__main__":
    main()
