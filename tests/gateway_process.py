"""Gateways for tests: on a socket of this process, or as the command that operators run."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
import yaml
from fastapi import FastAPI

from entroute.api.connections import Bounds, bounded_protocol
from entroute.app import create_app
from entroute.serving import bounds_of, listening
from entroute.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
_READY = re.compile(r"answers at (http://\S+)/v1")
_POLL_S = 0.01
BOUNDS = Bounds()


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with changes put over them, objects merged key by key."""
    result = dict(base)
    for key, value in changes.items():
        held = result.get(key)
        both = isinstance(held, Mapping) and isinstance(value, Mapping)
        result[key] = merged(held, value) if both else value  # type: ignore[arg-type]
    return result


def two_tiers(small_url: str, large_url: str) -> dict[str, Any]:
    """Return settings of the tiers small and large, one worker each (URLs without a path)."""
    return {
        "server": {"host": "127.0.0.1", "port": 0},
        "tiers": [
            {
                "name": "small",
                "model": "qwen-small",
                "workers": [{"url": f"{small_url}/v1"}],
                "price": {"prompt": 1.0, "completion": 2.0},
            },
            {
                "name": "large",
                "model": "qwen-large",
                "workers": [{"url": f"{large_url}/v1"}],
                "price": {"prompt": 10.0, "completion": 20.0},
            },
        ],
    }


@asynccontextmanager
async def serving(settings: Mapping[str, Any]) -> AsyncIterator[str]:
    """Serve a gateway on a free port of the running loop; yield its URL, no path."""
    valid = Settings.model_validate(settings)
    async with serving_app(create_app(valid), bounds_of(valid.server)) as url:
        yield url


@asynccontextmanager
async def serving_app(app: FastAPI, bounds: Bounds = BOUNDS) -> AsyncIterator[str]:
    """Serve an application on a free port of the running loop; yield its URL, no path."""
    listener = listening("127.0.0.1", 0, "server.")
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=bounded_protocol(bounds),
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
    )
    task = asyncio.create_task(server.serve([listener]))
    while not server.started:
        if task.done():
            task.result()
        await asyncio.sleep(_POLL_S)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@dataclass(frozen=True, slots=True)
class Served:
    """A gateway that runs as a command.

    Attributes:
        url: Its address, no path.
        process: The command.
        log: What it has written.
    """

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def terminate(self) -> None:
        """Ask it to stop."""
        self.process.send_signal(signal.SIGTERM)


@contextmanager
def served(
    folder: Path,
    settings: Mapping[str, Any] | None,
    environment: Mapping[str, str] | None = None,
    *,
    within_s: float = 30.0,
) -> Iterator[Served]:
    """Run `entroute serve` with these settings (the embedded default without) and stop it.

    The settings must ask for port 0, or the environment must.
    """
    arguments = ["serve"]
    if settings is not None:
        config = folder / "gateway.yaml"
        config.write_text(yaml.safe_dump(dict(settings)), encoding="utf-8")
        arguments += ["--config", str(config)]
    log = folder / "gateway.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command(arguments), env=child_environment(environment or {}), stdout=out, stderr=out
        )
    try:
        yield Served(_address(process, log, within_s), process, log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(within_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def both_served(
    stack: AsyncExitStack, folder: Path, settings: Mapping[str, Any]
) -> tuple[Served, Served]:
    """Run two gateways of the same settings, each in its own folder, until `stack` is closed."""

    async def start(name: str) -> Served:
        own = folder / name
        own.mkdir()
        return await asyncio.to_thread(stack.enter_context, served(own, settings, within_s=60))

    return await asyncio.gather(start("one"), start("two"))


def command(arguments: Sequence[str]) -> list[str]:
    """Return the command line of entroute with these arguments."""
    return [sys.executable, "-m", "entroute", *arguments]


def child_environment(changes: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment for a command, without settings of entroute's."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ENTROUTE_")}
    return {**clean, "PYTHONPATH": str(ROOT / "service"), "COLUMNS": "200", **changes}


def _address(process: subprocess.Popen[bytes], log: Path, within_s: float) -> str:
    give_up = time.monotonic() + within_s
    while time.monotonic() < give_up and process.poll() is None:
        found = _READY.search(log.read_text(encoding="utf-8", errors="replace"))
        if found:
            return found.group(1)
        time.sleep(_POLL_S)
    tail = log.read_text(encoding="utf-8", errors="replace")[-3000:]
    raise RuntimeError(f"the gateway is not ready after {within_s:g} s; its log:\n{tail}")
