"""Faults on the stage: workers, Redis and configuration are broken and mended."""

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from prometheus_client.parser import text_string_to_metric_families

from loadtest.fleet import Fleet, FleetWorker
from tests.deploy.stage_parts import crowded
from tests.deploy.stage_traffic import DOUBT, SUM, Client
from tests.gateway_process import Served
from tests.redis_server import RedisServer

PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Scene:
    """What faults are made on.

    Attributes:
        client: Asks the first gateway.
        other: Asks the second.
        gateway: The first gateway.
        second: The second gateway.
        fleet: Their workers.
        redis: Their Redis.
        config: The first gateway's file.
    """

    client: Client
    other: Client
    gateway: Served
    second: Served
    fleet: Fleet
    redis: RedisServer
    config: Path

    def of(self, tier: str) -> list[FleetWorker]:
        """Return a tier's workers."""
        return [worker for worker in self.fleet.workers if worker.tier == tier]

    async def ask(self, times: int, text: str = SUM, **fields: Any) -> list[httpx.Response]:
        """Ask the first gateway so often, at once."""
        return list(await asyncio.gather(*(self.client.ask(text, **fields) for _ in range(times))))

    async def until(
        self, name: str, holds: Callable[[float], bool], asking: int = 0, **labels: str
    ) -> None:
        """Wait until the sum of a metric's series on the first gateway is as wanted.

        Meanwhile the small tier is asked again and again, `asking` times at once.
        """
        async with asyncio.timeout(PATIENCE_S):
            while not holds(await _metric(self.client, name, labels)):
                await self.ask(asking, model="small", stream=True)
                await asyncio.sleep(0.1)


async def faults(scene: Scene) -> None:
    """Break one thing after the other; everything is mended at the end."""
    await _broken_worker(scene)
    await _slow_worker(scene)
    await _hung_worker(scene)
    await _killed_tier(scene)
    await _lost_redis(scene)
    await _reloads(scene)
    await _killed_process(scene)


async def _broken_worker(scene: Scene) -> None:
    """A worker answers 500: retries, its breaker opens, it is ejected."""
    sick = scene.of("small")[0]
    await sick.rescript(failures=[{"kind": "status", "status": 500}])
    for name in ("entroute_breaker_opened_total", "entroute_ejections_total"):
        await scene.until(name, lambda v: v > 0, asking=8, tier="small")
    await sick.rescript(failures=[{"kind": "status", "status": 400, "times": 2}])
    await asyncio.sleep(1.2)
    await scene.ask(6, model="small")
    await sick.rescript(failures=[{"kind": "truncated", "after_tokens": 3, "times": 1}])
    await scene.ask(3, model="small", stream=True)
    await sick.mend()
    for worker in scene.of("large"):  # no retry helps
        await worker.rescript(failures=[{"kind": "status", "status": 500, "times": 2}])
    await scene.ask(2, model="large")


async def _slow_worker(scene: Scene) -> None:
    """A worker takes its time: second calls; while those come too late, ejection for slowness."""
    slow = scene.of("small")[1]
    await slow.rescript(ttft_ms=1500)
    await scene.until("entroute_hedges_total", lambda v: v > 2, asking=9, tier="small")
    await slow.rescript(ttft_ms=800)
    ejected = "entroute_ejections_total"
    await scene.until(ejected, lambda v: v > 0, asking=18, tier="small", reason="slowness")
    await slow.mend()


async def _hung_worker(scene: Scene) -> None:
    """A worker stops where it is: timeouts."""
    hung = scene.of("large")[0]
    hung.pause()
    await scene.ask(4, model="large", stream=True)
    await scene.ask(2, DOUBT, entroute={"strategy": "cascade"})
    hung.resume()


async def _killed_tier(scene: Scene) -> None:
    """All of large, then all of small as well: other tiers answer, then nobody can."""
    for worker in scene.of("large"):
        await worker.kill()
    await scene.until("entroute_worker_up", lambda v: v == 0, tier="large")
    await scene.ask(2, DOUBT, entroute={"strategy": "cascade"})
    await scene.ask(2, SUM, entroute={"quality": 0.99})
    await scene.ask(1, model="large")
    for worker in scene.of("small"):
        await worker.kill()
    await scene.until("entroute_worker_up", lambda v: v == 0, tier="small")
    await scene.ask(3)
    await asyncio.sleep(1.5)  # so that Prometheus sees it
    await asyncio.gather(*(worker.start() for worker in scene.of("large")))
    await scene.until("entroute_worker_up", lambda v: v == 2, tier="large")
    await scene.ask(2)
    await asyncio.gather(*(worker.start() for worker in scene.of("small")))
    await scene.until("entroute_worker_up", lambda v: v == 3, tier="small")


async def _lost_redis(scene: Scene) -> None:
    """Redis hangs: answers are made without it, keys of the second gateway are refused."""
    scene.redis.pause()
    await scene.ask(3, temperature=0)
    await scene.ask(2, entroute={"strategy": "self_consistency"})
    await scene.client.post("responses", {"model": "auto", "input": SUM})
    await asyncio.sleep(1.5)
    await asyncio.gather(*(scene.other.ask(SUM) for _ in range(2)))
    scene.redis.resume()
    await scene.until("entroute_redis_up", lambda v: v == 1)


async def _reloads(scene: Scene) -> None:
    """A bad file is refused; small limits are applied, and calls queue, give way and are shed."""
    sound = yaml.safe_load(scene.config.read_text())
    await _reloaded(scene, {**sound, "no_such_key": 1}, "refused")
    await _reloaded(scene, crowded(sound), "applied")
    for worker in scene.of("small"):
        await worker.rescript(ttft_ms=700)
    for _ in range(2):
        await _crowd(scene)
        await asyncio.sleep(1.5)  # so that Prometheus sees counters move
    for worker in scene.of("small"):
        await worker.mend()
    await _reloaded(scene, sound, "applied")
    await _reloaded(scene, sound, "unchanged")


async def _crowd(scene: Scene) -> None:
    """Ask more than the small tier takes: the urgent last, votes and judged samples among it."""
    low, high = ({"priority": priority} for priority in ("low", "high"))
    judged = {"strategy": "best_of_n", "verifier": {"kind": "self_evaluation", "tier": "small"}}
    waiting = [
        asyncio.ensure_future(asked)
        for asked in (
            *(scene.client.ask(SUM, model="small", entroute=low) for _ in range(9)),
            scene.client.ask(SUM, model="small", entroute={"strategy": "self_consistency", **low}),
            scene.client.ask(SUM, model="small", entroute={**judged, **low}),
        )
    ]
    await asyncio.sleep(0.2)
    await scene.ask(3, model="small", entroute=high)
    await asyncio.gather(*waiting)


async def _reloaded(scene: Scene, settings: dict[str, Any], result: str) -> None:
    before = await _metric(scene.client, "entroute_reloads_total", {"result": result})
    scene.config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    scene.gateway.process.send_signal(signal.SIGHUP)
    await scene.until("entroute_reloads_total", lambda v: v > before, result=result)


async def _killed_process(scene: Scene) -> None:
    """One of the second gateway's processes dies and is started again."""
    os.kill(_children(scene.second.process.pid)[-1], signal.SIGKILL)
    async with asyncio.timeout(PATIENCE_S):
        while await _metric(scene.other, "entroute_processes_up", {}) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.2)


def _children(pid: int) -> list[int]:
    return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


async def _metric(client: Client, name: str, labels: dict[str, str]) -> float:
    """Return the sum of a metric's series that have these labels."""
    page = (await client.http.get(f"{client.url}/metrics")).text
    return sum(
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )
