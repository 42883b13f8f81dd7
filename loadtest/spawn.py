"""Starts fake workers as processes of their own, for tests and benches."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Mapping
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
    process = WorkerProcess(flags)
    try:
        yield await process.start()
    finally:
        await process.stop()


class WorkerProcess:
    """One fake worker's process, to be started and ended at will.

    Args:
        flags: As `fake_worker` has them.
    """

    def __init__(self, flags: Mapping[str, Any]) -> None:
        self._flags = flags
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> FakeWorker:
        """Start it, and return it once it answers.

        Raises:
            RuntimeError: it did not start; its reason is on standard error.
        """
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "loadtest.fake_worker",
            *_command_line(self._flags),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        line = await self._process.stdout.readline() if self._process.stdout is not None else b""
        if not line:
            raise RuntimeError(f"the fake worker did not start with the flags {self._flags}")
        return FakeWorker(json.loads(line)["url"], self._process.pid)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it lives."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def kill(self) -> None:
        """End it at once, stopped or not, as a crash does."""
        self.send(signal.SIGKILL)
        if self._process is not None:
            await self._process.communicate()

    async def stop(self) -> None:
        """Ask it to end; end it after some seconds."""
        self.send(signal.SIGTERM)
        try:
            if self._process is not None:
                await asyncio.wait_for(self._process.communicate(), _STOP_S)
        except TimeoutError:
            await self.kill()


def _command_line(flags: Mapping[str, Any]) -> list[str]:
    line: list[str] = []
    for name, value in flags.items():
        repeated = name == "model" and not isinstance(value, str)
        for one in value if repeated else [value]:
            text = one if isinstance(one, str) else json.dumps(one)
            line.append(f"--{name.replace('_', '-')}={text}")
    return line
