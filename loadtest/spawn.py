"""Starts fake workers as processes of their own, for tests and benches."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

ROOT = Path(__file__).resolve().parents[1]
_STOP_S = 5.0


@dataclass(frozen=True, slots=True)
class FakeWorker:
    """A running fake worker; `url` has no path: its API is at `url + "/v1"`."""

    url: str
    pid: int

    async def script(self, **changes: Any) -> None:
        """Change how it behaves, by the keys of `loadtest.script.Script`.

        Raises:
            ValueError: the worker refused the change; the message names the key.
        """
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}/fake/script", json=changes) as answer,
        ):
            if answer.status != 200:
                raise ValueError((await answer.json())["error"]["message"])

    async def requests(self) -> list[dict[str, Any]]:
        """Return the generation requests received, newest last: path, headers, body."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/fake/requests") as answer,
        ):
            received: list[dict[str, Any]] = (await answer.json())["requests"]
            return received

    async def forget(self) -> None:
        """Empty the list of requests received."""
        async with (
            aiohttp.ClientSession() as session,
            session.delete(f"{self.url}/fake/requests") as answer,
        ):
            answer.raise_for_status()

    async def metrics(self) -> dict[str, float]:
        """Return its metrics by name, summed over labels."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/metrics") as answer,
        ):
            return read_metrics(await answer.text())


def read_metrics(exposition: str) -> dict[str, float]:
    """Sum Prometheus text over labels, by metric name."""
    totals: dict[str, float] = {}
    for line in exposition.splitlines():
        if line and not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            name = series.partition("{")[0]
            totals[name] = totals.get(name, 0.0) + float(value)
    return totals


@asynccontextmanager
async def fake_worker(**flags: Any) -> AsyncIterator[FakeWorker]:
    """Run a fake worker on a free port of 127.0.0.1 and stop it on leaving.

    Flags are those of its command line with underscores: `model="small"` (or a list of names),
    `api_key`, `ttft_ms`, `tokens_per_second`, `tokens`, `answer`, `certainty`, `max_num_seqs`,
    `max_model_len`, `script={...}`.

    Raises:
        RuntimeError: it did not start; its reason is on standard error.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "loadtest.fake_worker",
        *_command_line(flags),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        line = await _first_line(process)
        if not line:
            raise RuntimeError(f"the fake worker did not start with the flags {flags}")
        yield FakeWorker(json.loads(line)["url"], process.pid)
    finally:
        await _stop(process)


async def _first_line(process: asyncio.subprocess.Process) -> bytes:
    return await process.stdout.readline() if process.stdout is not None else b""


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.communicate(), _STOP_S)
    except TimeoutError:
        process.kill()
        await process.communicate()


def _command_line(flags: dict[str, Any]) -> list[str]:
    line: list[str] = []
    for name, value in flags.items():
        repeated = name == "model" and not isinstance(value, str)
        for one in value if repeated else [value]:
            text = one if isinstance(one, str) else json.dumps(one)
            line.append(f"--{name.replace('_', '-')}={text}")
    return line
