"""The running parts of a chaos run: a fleet of fake workers, a Redis, a gateway in front."""

import asyncio
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from loadtest.chaos_client import Asked, ask
from loadtest.chaos_faults import Stage
from loadtest.chaos_load import CHECKABLE, Shape, Wish
from loadtest.chaos_report import Cost
from loadtest.chaos_usage import Series, scraped
from loadtest.chaos_watch import Watch, sockets
from loadtest.fleet import Fleet, Group, fleet
from loadtest.gateway_process import Gateway, gateway
from loadtest.processes import cpu_seconds, waited_seconds
from tests.redis_server import redis_server


def groups(shape: Shape) -> list[Group]:
    """Return the fleet: three small workers that hesitate now and then, two large ones."""
    endings = ["#### 42", "#### 41", "#### 24", "#### 7"]
    script = {
        "described": True,
        "tokens_per_second": shape.pace,
        "ttft_ms": shape.ttft_s * 1000,
        "jitter": 0.2,
        "rules": [{"contains": CHECKABLE, "answers": endings}],
    }
    return [
        Group("small", 3, {**script, "unsure": 0.15, "accuracy": 0.7}),
        Group("large", 2, {**script, "accuracy": 0.95}),
    ]


def settings(running: Fleet, redis_url: str, shape: Shape) -> dict[str, Any]:
    """Return the gateway's configuration: as it comes, but with the patience of a short run."""
    return {
        "tiers": running.tiers(),
        "redis": {"url": redis_url},
        "cache": {"kind": "redis"},
        "limits": {"max_calls": 16, "deadline_s": shape.deadline_s},
        "timeouts": {
            "connect_s": shape.patience_s / 2,
            "first_token_s": shape.patience_s,
            "between_tokens_s": shape.patience_s,
            "total_s": shape.deadline_s / 2.5,
        },
        "breaker": {"open_s": 1.0, "max_open_s": 2.0},
        "outliers": {"base_ejection_s": 2.0, "max_ejection_s": 4.0},
        "health": {"interval_s": 1.0, "timeout_s": shape.patience_s / 2},
    }


@dataclass(frozen=True, slots=True)
class Scene:
    """The running parts."""

    stage: Stage
    gateway: Gateway
    log: Path
    session: aiohttp.ClientSession
    watch: Watch

    async def load(self, wishes: Sequence[Wish], run: str) -> list[Asked]:
        """Send every request at its time, whatever becomes of the others."""
        loop = asyncio.get_running_loop()
        start = loop.time()

        async def one(wish: Wish) -> Asked:
            await asyncio.sleep(start + wish.at - loop.time())
            self.watch.open_requests += 1
            try:
                return await ask(self.session, self.gateway.url, wish, run)
            finally:
                self.watch.open_requests -= 1

        return await asyncio.gather(*(one(wish) for wish in wishes))

    async def series(self) -> Series:
        """Return what the gateway counts."""
        return await scraped(self.session, self.gateway.url)

    def sockets(self) -> Counter[str]:
        """Return the gateway's open files by kind."""
        ports = [urlsplit(worker.url).port or 0 for worker in self.stage.fleet.workers]
        return sockets(self.gateway.pid, urlsplit(self.gateway.url).port or 0, ports)

    def cost(self) -> Cost:
        """Return what the parts have cost so far; of workers, those that run now."""
        pid = self.gateway.pid
        workers = sum(cpu_seconds(worker.running.pid) for worker in self.stage.fleet.workers)
        return Cost(
            time.perf_counter(),
            cpu_seconds(pid),
            time.process_time(),
            workers,
            waited_seconds(pid),
            waited_seconds(os.getpid()),
        )


@asynccontextmanager
async def staged(shape: Shape, keep: Path | None) -> AsyncIterator[Scene]:
    """Run Redis, workers and gateway for the length of a `with` block.

    Their log, journals and configuration are in `keep`, or gone afterwards.
    """
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=2)
    timeout = aiohttp.ClientTimeout(total=None)
    with tempfile.TemporaryDirectory(prefix="chaos-") as name, redis_server() as redis:
        folder = keep or Path(name)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            fleet(groups(shape), folder) as running,
        ):
            changes = settings(running, redis.url, shape)
            async with gateway(folder, {}, "", changes=changes, ready_s=60) as front:
                config = folder / "gateway.yaml"
                stage = Stage(running, redis, front.pid, config, json.loads(config.read_text()))
                watch = Watch(
                    front.pid, max(0.25, shape.seconds / 300), lambda: _pinged(session, front.url)
                )
                yield Scene(stage, front, folder / "gateway.log", session, watch)


async def _pinged(session: aiohttp.ClientSession, url: str) -> float:
    started = time.perf_counter()
    try:
        async with session.get(f"{url}/healthz") as answer:
            return time.perf_counter() - started if answer.status == 200 else float("inf")
    except aiohttp.ClientError:
        return float("inf")
