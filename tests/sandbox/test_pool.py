import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from entroute.errors import SandboxUnavailable
from entroute.sandbox import BubblewrapSandbox
from tests.sandbox.boxes import MEMORY_MIB, bubblewrap, config, processes, until_gone

A_SANDBOX = 3  # bwrap, the init of its process namespace, Python


async def settled(count: int) -> bool:
    """Whether so many sandboxes are left after a while."""
    for _ in range(500):
        if len(processes()) == count * A_SANDBOX:
            return True
        await asyncio.sleep(0.01)
    return False


async def test_warm_ones_are_ready_before_the_first_program_and_refilled_behind_it() -> None:
    async with bubblewrap(warm=2) as sandbox:
        first = processes()
        assert len(first) == 2 * A_SANDBOX
        assert (await sandbox.run("pass")).ok
        assert await settled(2)
        assert set(processes()) != set(first)


async def test_a_sandbox_is_used_once() -> None:
    async with bubblewrap(workers=1, warm=1) as sandbox:
        source = "import os, sys\nprint(os.listdir(), hasattr(sys, 'mark'))\n"
        source += "sys.mark = open('left', 'w')"
        runs = [await sandbox.run(source) for _ in range(3)]
        assert [run.stdout for run in runs] == ["[] False\n"] * 3


async def test_it_works_without_warm_ones() -> None:
    async with bubblewrap(warm=0) as sandbox:
        assert processes() == []
        assert (await sandbox.run("print(1)")).stdout == "1\n"


async def test_no_more_programs_run_at_once_than_workers() -> None:
    async with bubblewrap(workers=2, warm=0) as sandbox:
        sources = ["import time; time.sleep(.4)"] * 5
        running = asyncio.gather(*(sandbox.run(source) for source in sources))
        most = 0
        while not running.done():
            most = max(most, len(sandbox_pids()))
            await asyncio.sleep(0.02)
        assert all(run.ok for run in await running)
        assert most <= 2 + 1  # one that ends, one that takes its place


def sandbox_pids() -> set[int]:
    """Return the Pythons among the processes: the last of each three."""
    return {pid for pid in processes() if is_python(pid)}


def is_python(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().startswith("python")
    except OSError:
        return False


async def test_warm_ones_that_died_are_replaced() -> None:
    async with bubblewrap(warm=2) as sandbox:
        kill_all()
        assert (await sandbox.run("print(1)")).stdout == "1\n"  # at once: they may look alive
        assert (await sandbox.run("print(2)")).stdout == "2\n"
        assert await settled(2)


async def test_a_run_whose_sandbox_is_killed_from_outside_says_so() -> None:
    async with bubblewrap(warm=0) as sandbox:
        running = asyncio.ensure_future(sandbox.run("while True: pass", wall_s=30))
        await asyncio.sleep(0.6)
        kill_all()
        assert (await running).status == "killed"


def kill_all() -> None:
    for pid in processes():
        with contextlib.suppress(ProcessLookupError):  # its bwrap took it along
            os.kill(pid, signal.SIGKILL)


async def test_closing_kills_a_program_that_runs() -> None:
    async with bubblewrap() as sandbox:
        running = asyncio.ensure_future(sandbox.run("while True: pass", wall_s=30))
        await asyncio.sleep(0.5)
        mine = processes()
        assert len(mine) >= A_SANDBOX
        await sandbox.close()
        assert (await running).status == "killed"
        with pytest.raises(SandboxUnavailable, match="closed"):
            await sandbox.run("pass")
        assert await until_gone(mine)


GATEWAY = """
import asyncio
from entroute.sandbox import BubblewrapConfig

async def main():
    sandbox = BubblewrapConfig(memory_mib={memory_mib}, warm=2).build()
    await sandbox.start()
    running = asyncio.ensure_future(sandbox.run("while True: pass", wall_s=60))
    await asyncio.sleep(0.5)
    print("running", flush=True)
    await running

asyncio.run(main())
"""


async def test_a_gateway_that_is_killed_takes_its_sandboxes_with_it() -> None:
    gateway = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        GATEWAY.format(memory_mib=MEMORY_MIB),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert gateway.stdout is not None
    assert await gateway.stdout.readline() == b"running\n"
    mine = processes()
    gateway.kill()
    await gateway.wait()
    assert len(mine) >= A_SANDBOX
    assert await until_gone(mine)


async def test_before_its_start_it_runs_nothing() -> None:
    sandbox: BubblewrapSandbox = config().build()
    with pytest.raises(SandboxUnavailable, match="not started"):
        await sandbox.run("pass")
    await sandbox.close()


async def test_wall_time_is_cut_to_the_configured_maximum() -> None:
    async with bubblewrap(max_wall_s=1) as sandbox:
        run = await sandbox.run("import time; time.sleep(20)", wall_s=600)
        assert (run.status, run.seconds < 5) == ("timeout", True)
