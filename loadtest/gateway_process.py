"""Starts the gateway in front of one worker, as an operator would, for measurements."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from entroute.embedded.engine import free_port
from loadtest.spawn import ROOT

_STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway; `url` has no path."""

    url: str
    pid: int


@asynccontextmanager
async def gateway(
    folder: Path,
    tiers: dict[str, str],
    worker_url: str,
    *,
    ready_s: float = 30.0,
    changes: Mapping[str, Any] | None = None,
) -> AsyncIterator[Gateway]:
    """Run `entroute serve` with its tiers (name to model) on one worker; stop it on leaving.

    `folder` gets its configuration, with `changes` of its settings, and its log.

    Raises:
        RuntimeError: it is not ready within `ready_s` seconds; the message holds its log's end.
    """
    port = free_port()
    config, log = folder / "gateway.yaml", folder / "gateway.log"
    settings = {
        "server": {"host": "127.0.0.1", "port": port},
        "tiers": [
            {"name": name, "model": model, "workers": [{"url": f"{worker_url}/v1"}]}
            for name, model in tiers.items()
        ],
        **(changes or {}),
    }
    config.write_text(json.dumps(settings, indent=1), encoding="utf-8")  # JSON is YAML
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "entroute", "serve", "--config", str(config)),
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT / "service")},
            stdout=out,
            stderr=out,
        )
    running = Gateway(f"http://127.0.0.1:{port}", process.pid)
    try:
        if not await _ready(running, process, ready_s):
            tail = log.read_bytes()[-2000:].decode(errors="replace")  # once
            raise RuntimeError(f"the gateway is not ready after {ready_s:g} s; its log:\n{tail}")
        yield running
    finally:
        await _stop(process)


async def _ready(running: Gateway, process: asyncio.subprocess.Process, ready_s: float) -> bool:
    end = time.monotonic() + ready_s
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < end and process.returncode is None:
            try:
                async with session.get(f"{running.url}/readyz") as answer:
                    if answer.status == 200:
                        return True
            except aiohttp.ClientError:
                pass  # not listening yet
            await asyncio.sleep(0.05)
    return False


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), _STOP_S)
    except TimeoutError:
        process.kill()
        await process.wait()
