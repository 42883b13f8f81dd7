"""The bench refuses to time what it did not ask for, and reads real CPU time."""

import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from rich.console import Console

from loadtest import bench_modes as modes
from loadtest.bench_report import print_report
from loadtest.processes import cpu_seconds, resident_megabytes, tree
from loadtest.spawn import fake_worker

BUSY = "import time\nend = time.process_time() + 0.15\nwhile time.process_time() < end: pass\n"
PARENT = (
    "import subprocess, sys\n"
    "child = subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdin=0)\n"
    "print(child.pid, flush=True)\n"
    "child.wait()\n"
)


@pytest.fixture
def family() -> Iterator[tuple[int, int]]:
    """A parent whose child burns 0.15 s of CPU, then both wait; yields their process ids."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, BUSY + "input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    yield parent.pid, int(parent.stdout.readline())
    parent.communicate("\n", timeout=10)


def test_cpu_and_memory_are_those_of_the_whole_tree(family):
    parent, child = family
    assert tree(parent) == [parent, child]
    end = time.monotonic() + 5
    while cpu_seconds(parent) < 0.15 and time.monotonic() < end:
        time.sleep(0.02)
    assert cpu_seconds(parent) - cpu_seconds(child) < cpu_seconds(child) < 1
    assert resident_megabytes(parent) > resident_megabytes(child) > 1


def test_a_process_that_is_gone_costs_nothing():
    finished = subprocess.Popen([sys.executable, "-c", ""])
    finished.wait()
    assert cpu_seconds(finished.pid) == 0
    assert os.getpid() not in tree(finished.pid)


async def test_a_mode_is_refused_when_answers_come_another_way():
    async with fake_worker(model=["small", *modes.TIERS.values()]) as worker:

        async def check(mode: modes.Mode) -> None:
            await modes.check_mode(mode, mode.target(worker.url, worker.url, {}, "salt"))

        await check(modes.DIRECT)
        with pytest.raises(RuntimeError, match="exact cache hit: the headers say"):
            await check(modes.HIT)
        with pytest.raises(RuntimeError, match="cascade: status 404"):
            await check(modes.CASCADE)


def test_fresh_modes_never_ask_twice_and_the_cached_one_always_does():
    bodies = [modes.PINNED.target("w", "g", {}, "a").body(index) for index in range(3)]
    bodies += [modes.PINNED.target("w", "g", {}, "b").body(index) for index in range(3)]
    assert len(set(bodies)) == 6
    assert len({modes.HIT.target("w", "g", {}, salt).body(1) for salt in "ab"}) == 1


def test_the_report_holds_each_way_against_the_direct_one():
    numbers = {"p99_us": 9.0, "ttft_us": 40.0, "cpu_us_per_request": 55.0, "cpu_us_per_chunk": 6.5}
    direct = {"concurrency": 1, "mode": "direct", "requests_per_s": 1000.0, "p50_us": 100.0}
    pinned = {"concurrency": 1, "mode": "pinned tier", "requests_per_s": 250.0, "p50_us": 340.0}
    rows = [{**direct, **numbers}, {**pinned, **numbers, "ttft_us": 90.0}]
    out = io.StringIO()
    memory = {"idle_mb": 30.0, "loaded_mb": 40.0}
    results = {"whole": rows, "streams": rows, "memory": memory}
    print_report(Console(file=out, width=120), results)
    line = next(line for line in out.getvalue().splitlines() if "pinned tier" in line)
    assert [cell.strip() for cell in line.split("│")[1:-1]] == [
        "1",
        "pinned tier",
        "250",
        "0.25",
        "340",
        "9",
        "240",
        "55",
    ]
