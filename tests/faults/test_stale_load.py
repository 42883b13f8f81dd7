"""Load metrics stale: round robin, never a refusal."""

import asyncio
from collections import Counter
from pathlib import Path

from loadtest.fleet import Group
from tests.fault_sites import site


async def test_workers_whose_load_cannot_be_read_take_turns(tmp_path: Path) -> None:
    groups = [Group("small", 3, {})]
    async with site(tmp_path, groups, tier={"balancer": "least_loaded"}) as there:
        for worker in there.workers("small"):
            await worker.rescript(metrics=False)
        await asyncio.sleep(2)  # several sweeps: what was read before is too old now
        answers = [await there.ask("small") for _ in range(12)]
        assert {answer.status_code for answer in answers} == {200}
        asked = Counter[str]()
        for worker in there.workers("small"):
            asked[worker.name] = len(await worker.running.requests())
        assert set(asked.values()) == {4}
