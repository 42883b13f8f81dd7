"""Fake workers that are killed, stopped and told to fail: `python -m loadtest.fleet --help`.

Every worker is a process on a port of its own, which it keeps over restarts. The command prints a
gateway configuration to put in front of them and runs until Ctrl-C.
"""

import argparse
import asyncio
import json
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entroute.embedded.engine import free_port
from loadtest.sent import Sent, read_sent
from loadtest.spawn import FakeWorker, WorkerProcess


@dataclass(frozen=True, slots=True)
class Group:
    """Workers of one tier: its name, which its model has too, their number, their script."""

    tier: str
    workers: int
    script: Mapping[str, Any]


class FleetWorker:
    """One worker of a fleet: the same port and journal whichever process is behind it.

    Args:
        name: Letters, digits and _; a process's name is this and the number of its start.
        tier: Its tier's, and its model's.
        script: How it behaves while nothing is wrong.
        journal: Where it tells what it sent.
    """

    def __init__(self, name: str, tier: str, script: Mapping[str, Any], journal: Path) -> None:
        self.name = name
        self.tier = tier
        self.journal = journal
        self.starts = 0
        self._script = dict(script)
        self._port = free_port()
        self._process = WorkerProcess({})

    @property
    def url(self) -> str:
        """Its address, no path."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def running(self) -> FakeWorker:
        """The process that is behind it now."""
        return self._running

    async def start(self) -> None:
        """Start a process, sound and with a name of its own.

        Raises:
            RuntimeError: it did not start.
        """
        self.starts += 1
        flags = {
            "model": self.tier,
            "port": self._port,
            "name": f"{self.name}r{self.starts}",
            "journal": str(self.journal),
            "script": self._script,
        }
        self._process = WorkerProcess(flags)
        self._running = await self._process.start()

    async def kill(self) -> None:
        """End its process at once (SIGKILL)."""
        await self._process.kill()

    async def stop(self) -> None:
        """Ask its process to end (SIGTERM)."""
        self.resume()
        await self._process.stop()

    def pause(self) -> None:
        """Stop its process where it is (SIGSTOP): connections stay open and nothing answers."""
        self._process.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on (SIGCONT)."""
        self._process.send(signal.SIGCONT)

    async def rescript(self, **changes: Any) -> None:
        """Change how it behaves, until `mend` or a restart."""
        await self._running.script(**changes)

    async def mend(self) -> None:
        """Let it behave as it did in the beginning."""
        await self._running.script(failures=[], healthy=True, **self._script)


class Fleet:
    """Workers of several tiers.

    Attributes:
        workers: All, tier by tier.
    """

    def __init__(self, groups: Sequence[Group], folder: Path) -> None:
        self.workers = [
            FleetWorker(name, group.tier, group.script, folder / f"{name}.jsonl")
            for group in groups
            for name in (f"{group.tier}{number}" for number in range(group.workers))
        ]

    def by_name(self, name: str) -> FleetWorker:
        """Return a worker by its name."""
        return next(worker for worker in self.workers if worker.name == name)

    def tiers(self) -> list[dict[str, Any]]:
        """Return the tiers of a gateway's configuration, in the fleet's order."""
        urls: dict[str, list[dict[str, str]]] = {}
        for worker in self.workers:
            urls.setdefault(worker.tier, []).append({"url": f"{worker.url}/v1"})
        return [{"name": tier, "model": tier, "workers": workers} for tier, workers in urls.items()]

    def sent(self) -> dict[tuple[str, int], Sent]:
        """Return what all workers sent so far."""
        return read_sent(worker.journal for worker in self.workers if worker.journal.exists())


@asynccontextmanager
async def fleet(groups: Sequence[Group], folder: Path) -> AsyncIterator[Fleet]:
    """Run a fleet, with its journals in `folder`, and stop it on leaving.

    Raises:
        RuntimeError: a worker did not start.
    """
    running = Fleet(groups, folder)
    try:
        await asyncio.gather(*(worker.start() for worker in running.workers))
        yield running
    finally:
        await asyncio.gather(*(worker.stop() for worker in running.workers))


async def _run(groups: Sequence[Group], folder: Path) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with fleet(groups, folder) as running:
        print(json.dumps({"tiers": running.tiers()}, indent=1), flush=True)  # JSON is YAML
        await stopped.wait()


def _group(text: str) -> tuple[str, int]:
    tier, _, count = text.partition("=")
    return tier, int(count or 1)


def main() -> None:
    """Run a fleet until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.fleet", description=__doc__)
    parser.add_argument("--workers", action="append", type=_group, help="TIER=COUNT; repeatable")
    parser.add_argument("--script", type=json.loads, default={}, help="of all, JSON")
    given = parser.parse_args()
    counts = given.workers or [("small", 3), ("large", 2)]
    groups = [Group(tier, count, given.script) for tier, count in counts]
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_run(groups, Path(folder)))


if __name__ == "__main__":
    main()
