"""What every sandbox keeps to, here and on a server."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest
import pytest_asyncio

from entroute.errors import SandboxUnavailable
from entroute.protocols import Sandbox
from tests.sandbox.boxes import bubblewrap, processes, remote

pytestmark = pytest.mark.asyncio(loop_scope="module")
KINDS: dict[str, Callable[..., AbstractAsyncContextManager[Sandbox]]] = {
    "bubblewrap": bubblewrap,
    "http": remote,
}


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=KINDS)
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    async with KINDS[request.param](queue=2) as started:
        yield started


async def test_a_program_that_ends_is_ok_and_its_output_comes_back(sandbox: Sandbox) -> None:
    run = await sandbox.run("print(6 * 7)")
    assert (run.status, run.stdout, run.error, run.ok) == ("ok", "42\n", "", True)
    assert 0 < run.seconds < 10


async def test_a_program_reads_its_stdin(sandbox: Sandbox) -> None:
    run = await sandbox.run("print(sum(map(int, input().split())))", stdin="1 2 3\n")
    assert run.stdout == "6\n"


async def test_a_large_stdin_arrives_whole_or_is_left_unread(sandbox: Sandbox) -> None:
    text = "ä" * 300_000
    read = await sandbox.run("import sys; print(len(sys.stdin.read()))", stdin=text)
    unread = await sandbox.run("print('done')", stdin=text)
    assert (read.stdout, unread.stdout, unread.status) == ("300000\n", "done\n", "ok")


async def test_the_error_is_the_last_line_of_the_traceback(sandbox: Sandbox) -> None:
    run = await sandbox.run("print('before')\nraise ValueError('two\\nlines')")
    assert (run.status, run.stdout, run.error) == ("error", "before\n", "lines")
    assert (await sandbox.run("1/0")).error == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize("source", ["def", "print('\0')", "x = '\ud800'; raise KeyError(1)"])
async def test_a_program_that_is_no_python_is_an_error(sandbox: Sandbox, source: str) -> None:
    run = await sandbox.run(source)
    assert run.status == "error"
    assert run.error


@pytest.mark.parametrize(
    "leaving",
    ["import sys; sys.exit(0)", "import os; os._exit(0)", "raise SystemExit", "exit()", "quit(0)"],
)
async def test_leaving_early_is_an_error_whatever_the_exit_status(
    sandbox: Sandbox, leaving: str
) -> None:
    run = await sandbox.run(f"print('so far', flush=True)\n{leaving}\nassert False")
    assert (run.status, run.stdout) == ("error", "so far\n")
    assert "left before its end" in run.error


async def test_wall_time_ends_a_program_that_waits(sandbox: Sandbox) -> None:
    begun = time.monotonic()
    run = await sandbox.run("print(1, flush=True)\nimport time; time.sleep(60)", wall_s=0.5)
    assert (run.status, run.stdout) == ("timeout", "1\n")
    assert time.monotonic() - begun < 5


async def test_it_is_the_gateways_python_without_its_packages(sandbox: Sandbox) -> None:
    run = await sandbox.run("import sys; print(sys.version)\nimport pydantic")
    assert run.stdout == f"{sys.version}\n"
    assert run.error == "ModuleNotFoundError: No module named 'pydantic'"


async def test_the_standard_library_is_there(sandbox: Sandbox) -> None:
    names = "asyncio, bz2, ctypes, dataclasses, decimal, fractions, heapq, hashlib, lzma, re"
    source = f"import {names}, sqlite3, ssl, statistics, tempfile, zlib, zoneinfo\n"
    source += "@dataclasses.dataclass\nclass A: b: int\n"
    source += "asyncio.run(asyncio.sleep(0))\n"
    source += "with tempfile.TemporaryFile() as file: file.write(b'x')\n"
    source += "if __name__ == '__main__': print(A(1))"
    run = await sandbox.run(source)
    assert (run.status, run.error, run.stdout) == ("ok", "", "A(b=1)\n")


async def test_runs_at_once_share_nothing(sandbox: Sandbox) -> None:
    sources = [f"import time; open('f','x').write('{i}'); time.sleep(.2)\n" for i in range(3)]
    read = "print(open('f').read())"
    runs = await asyncio.gather(*(sandbox.run(source + read) for source in sources))
    assert [run.stdout for run in runs] == ["0\n", "1\n", "2\n"]


async def test_more_callers_than_the_queue_holds_are_refused(sandbox: Sandbox) -> None:
    waiting = [sandbox.run("import time; time.sleep(.5)") for _ in range(7)]
    runs = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(isinstance(run, SandboxUnavailable) for run in runs) == 3
    assert (await sandbox.run("print(1)")).ok


async def test_a_cancelled_run_is_killed_at_once(sandbox: Sandbox) -> None:
    await sandbox.run("pass")
    running = asyncio.ensure_future(sandbox.run("while True: pass", wall_s=30))
    await asyncio.sleep(0.7)  # the warm one behind it has started
    before = processes()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await asyncio.sleep(0.5)
    left = processes()
    assert len(before) - len(set(before) & set(left)) == 3  # bwrap, its init, Python
    assert (await sandbox.run("print(1)")).ok
