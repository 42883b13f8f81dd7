"""The gateway as operators run it, before worker processes that can be killed and stopped."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from loadtest.fleet import Fleet, FleetWorker, Group, fleet
from tests.gateway_process import Served, merged, served

PATIENCE_S = 30.0
"""Seconds after which what is waited for will not come."""

ASK: Sequence[Mapping[str, str]] = ({"role": "user", "content": "What is 17 * 3?"},)

SETTINGS: dict[str, Any] = {
    "server": {"host": "127.0.0.1", "port": 0},
    "health": {"interval_s": 0.3, "timeout_s": 5},
    "cache": {"kind": "off"},
}
"""Of every gateway here: workers are asked for their health often, answers are made anew."""


@dataclass(frozen=True, slots=True)
class Site:
    """A gateway and its workers."""

    gateway: Served
    fleet: Fleet
    http: httpx.AsyncClient

    async def ask(self, model: str = "auto", **fields: Any) -> httpx.Response:
        """Ask for a chat completion."""
        body = {"model": model, "messages": ASK, **fields}
        return await self.http.post(f"{self.gateway.url}/v1/chat/completions", json=body)

    async def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's series that have these labels."""
        page = (await self.http.get(f"{self.gateway.url}/metrics")).text
        return sum(
            sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def workers(self, tier: str) -> list[FleetWorker]:
        """Return a tier's workers."""
        return [worker for worker in self.fleet.workers if worker.tier == tier]

    async def until_up(self, tier: str, wanted: int) -> None:
        """Wait until the gateway takes so many workers of a tier for up."""

        async def holds() -> bool:
            return await self.metric("entroute_worker_up", tier=tier) == wanted

        await until(holds)


@asynccontextmanager
async def site(
    folder: Path,
    groups: Sequence[Group] = (Group("small", 2, {}), Group("large", 1, {})),
    changes: Mapping[str, Any] | None = None,
    tier: Mapping[str, Any] | None = None,
) -> AsyncIterator[Site]:
    """Run workers and a gateway in front of them; `tier` is set for each of its tiers."""
    async with AsyncExitStack() as stack:
        workers = await stack.enter_async_context(fleet(groups, folder))
        tiers = [{**told, **(tier or {})} for told in workers.tiers()]
        settings = merged({**SETTINGS, "tiers": tiers}, changes or {})
        gateway = await asyncio.to_thread(stack.enter_context, served(folder, settings))
        client = httpx.AsyncClient(timeout=PATIENCE_S)
        yield Site(gateway, workers, await stack.enter_async_context(client))


async def until(holds: Callable[[], Any]) -> None:
    """Wait until something holds, `PATIENCE_S` at most."""
    async with asyncio.timeout(PATIENCE_S):
        while not await holds():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.05)


def text_of(answer: httpx.Response) -> str:
    """Return what a chat completion says."""
    content: str = answer.json()["choices"][0]["message"]["content"]
    return content
