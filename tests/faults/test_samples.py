"""Some samples fail: the others are kept, failures named; it fails only when none is left."""

import asyncio
from pathlib import Path

from loadtest.fleet import Group
from tests.fault_sites import site, text_of

ONE_TRY = {"retries": {"attempts": 1}, "breaker": {"failures": 1000, "rate": 1.0}}
VOTE = {"strategy": "self_consistency", "explain": True, "budget": {"max_calls": 8}}


async def test_the_samples_that_succeed_are_kept(tmp_path: Path) -> None:
    groups = [Group("small", 1, {"answer": "51"})]
    changes = {**ONE_TRY, "strategies": [{"kind": "self_consistency", "samples": 8}]}
    async with site(tmp_path, groups, changes) as there:
        failure = {"kind": "status", "status": 500, "times": 3}
        await there.workers("small")[0].rescript(failure=failure)
        answer = await there.ask("small", entroute=VOTE)
        assert answer.status_code == 200, answer.text
        assert text_of(answer) == "51"
        told = answer.json()["entroute"]
        assert 1 <= len(told["candidates"]) <= 5
        assert told["failures"] == 3
        assert await there.metric("entroute_samples_total", result="failed") == 3


async def test_a_worker_killed_under_a_vote_costs_samples_only(tmp_path: Path) -> None:
    groups = [Group("small", 2, {"answer": "51", "ttft_ms": 800})]
    changes = {**ONE_TRY, "strategies": [{"kind": "self_consistency", "samples": 8}]}
    async with site(tmp_path, groups, changes) as there:
        asking = asyncio.ensure_future(there.ask("small", entroute=VOTE))
        await asyncio.sleep(0.4)
        await there.workers("small")[0].kill()
        answer = await asking
        assert answer.status_code == 200, answer.text
        assert text_of(answer) == "51"


async def test_when_none_is_left_it_fails(tmp_path: Path) -> None:
    groups = [Group("small", 1, {})]
    async with site(tmp_path, groups, ONE_TRY) as there:
        await there.workers("small")[0].rescript(failure={"kind": "status", "status": 500})
        answer = await there.ask("small", entroute=VOTE)
        assert answer.status_code == 502
        assert answer.json()["error"]["code"] == "upstream_error"
