"""Breaks and mends the parts of a chaos run, as its schedule says."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtest.chaos_schedule import GATEWAY, REDIS, Fault
from loadtest.fleet import Fleet, FleetWorker
from tests.redis_server import RedisServer


@dataclass(frozen=True, slots=True)
class Happened:
    """A fault that was, in seconds since the epoch."""

    fault: Fault
    began: float
    ended: float


@dataclass(slots=True)
class Stage:
    """What can break: workers, Redis, the gateway's configuration file.

    Attributes:
        happened: What was broken so far.
    """

    fleet: Fleet
    redis: RedisServer
    gateway_pid: int
    config: Path
    settings: Mapping[str, Any]
    happened: list[Happened] = field(default_factory=list)
    _reloads: int = 0

    async def play(self, faults: Sequence[Fault], start: float) -> None:
        """Let all faults happen; `start` is the time of the loop from which they count.

        Raises:
            ExceptionGroup: something could not be broken or mended.
        """
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                group.create_task(self._happen(fault, start))

    async def mend(self) -> None:
        """Make sure that every part works: processes run and behave."""
        await asyncio.to_thread(self.redis.resume)
        for worker in self.fleet.workers:
            worker.resume()
            await worker.mend()

    async def _happen(self, fault: Fault, start: float) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(start + fault.at - loop.time())
        began = time.time()
        if fault.target == GATEWAY:
            await self._reload(bad=fault.kind == "reload of a bad file")
        elif fault.target == REDIS:
            await self._break_redis(fault)
        else:
            await _break_worker(self.fleet.by_name(fault.target), fault)
        self.happened.append(Happened(fault, began, time.time()))

    async def _break_redis(self, fault: Fault) -> None:
        killed = fault.kind == "redis killed"
        await asyncio.to_thread(self.redis.kill if killed else self.redis.pause)
        await asyncio.sleep(fault.lasts_s)
        await asyncio.to_thread(self.redis.start if killed else self.redis.resume)

    async def _reload(self, *, bad: bool) -> None:
        """Write another configuration and tell the gateway to read it."""
        self._reloads += 1
        settings = dict(self.settings)
        if bad:
            settings["no_such_part"] = {}
        else:
            settings["limits"] = {**settings["limits"], "max_calls": 16 + self._reloads}
        text = json.dumps(settings, indent=1)
        await asyncio.to_thread(self.config.write_text, text, encoding="utf-8")
        os.kill(self.gateway_pid, signal.SIGHUP)


async def _break_worker(worker: FleetWorker, fault: Fault) -> None:
    if fault.kind == "killed":
        await worker.kill()
        await asyncio.sleep(fault.lasts_s)
        await worker.start()
    elif fault.kind == "paused":
        worker.pause()
        await asyncio.sleep(fault.lasts_s)
        worker.resume()
    else:
        await worker.rescript(**fault.script)
        await asyncio.sleep(fault.lasts_s)
        await worker.mend()
