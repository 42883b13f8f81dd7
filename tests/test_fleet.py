"""What the fleet tells of its tiers: which of them can go on with a partial answer."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from entroute.errors import WorkerFailed
from entroute.fleet import Fleet
from entroute.settings import Settings
from loadtest.spawn import FakeWorker
from tests.workers import MODEL, two_workers, worker_processes

__all__ = ["two_workers", "worker_processes"]


@asynccontextmanager
async def fleet_of(*urls: str, **facts: Any) -> AsyncIterator[Fleet]:
    workers = [{"url": f"{url}/v1"} for url in urls]
    tier = {"name": "small", "model": MODEL, "workers": workers, **facts}
    settings = Settings.model_validate({"tiers": [tier]})
    fleet = Fleet(settings, time.monotonic, ready_made=None, engine_urls={})
    async with AsyncExitStack() as stack:
        await fleet.connect(stack, CollectorRegistry())
        yield fleet


@pytest.mark.parametrize(
    ("engines", "continues"),
    [
        (("vllm", "vllm"), True),
        (("vllm", "llamacpp"), True),
        (("vllm", "somebody"), False),
        (("vllm", ""), False),
        (("", ""), False),
    ],
)
async def test_a_tier_continues_where_all_its_workers_engines_do(
    two_workers: tuple[FakeWorker, FakeWorker], engines: tuple[str, str], *, continues: bool
) -> None:
    async with fleet_of(*(worker.url for worker in two_workers)) as fleet:
        assert fleet.tiers()[0].continues  # they say that they are vLLM
        for member, engine in zip(fleet._pools[0].members, engines, strict=True):
            member.worker.engine = engine
        assert fleet.tiers()[0].continues is continues


async def test_a_worker_never_reached_says_nothing(
    two_workers: tuple[FakeWorker, FakeWorker],
) -> None:
    async with fleet_of(two_workers[0].url, "http://127.0.0.1:1") as fleet:
        assert fleet.tiers()[0].continues
    async with fleet_of("http://127.0.0.1:1") as fleet:
        assert not fleet.tiers()[0].continues


@pytest.mark.parametrize("said", [True, False])
async def test_what_is_configured_counts_more_than_what_workers_say(
    two_workers: tuple[FakeWorker, FakeWorker], *, said: bool
) -> None:
    async with fleet_of(two_workers[0].url, continues=said) as fleet:
        fleet._pools[0].members[0].worker.engine = "" if said else "vllm"
        assert fleet.tiers()[0].continues is said


async def test_a_fleet_that_takes_over_keeps_breakers_and_lets_new_workers_warm_up(
    two_workers: tuple[FakeWorker, FakeWorker],
) -> None:
    one, other = (worker.url for worker in two_workers)
    async with fleet_of(one) as before, fleet_of(one, other) as after:
        member = before.pools[0].members[0]
        for _ in range(5):
            member.failed(member.begun(), WorkerFailed(one, "answered 500"))
        before.pools[0].outliers.ejections["slowness"] = 2
        after.adopt(before)
        kept, new = after.pools[0].members
        assert kept is member
        assert not kept.callable
        assert kept.weight == 1
        assert new.callable
        assert new.weight < 1
        assert after.pools[0].ejections == {"slowness": 2}
