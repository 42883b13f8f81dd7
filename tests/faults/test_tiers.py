"""A whole tier down: another answers under `auto`, a pinned one is 503, all down is 503."""

from pathlib import Path

import pytest

from tests.fault_sites import Site, site


async def down(there: Site, *tiers: str) -> None:
    """Kill every worker of these tiers and wait until the gateway knows."""
    for tier in tiers:
        for worker in there.workers(tier):
            await worker.kill()
    for tier in tiers:
        await there.until_up(tier, 0)


@pytest.mark.parametrize(("lost", "left"), [("large", "small"), ("small", "large")])
async def test_another_tier_answers_and_says_so(tmp_path: Path, lost: str, left: str) -> None:
    hard = {"policy": {"kind": "static", "tier": lost, "strategy": "single"}}
    async with site(tmp_path, changes=hard) as there:
        answer = await there.ask("auto")
        assert answer.headers["x-entroute-tier"] == lost
        assert "x-entroute-degraded" not in answer.headers
        await down(there, lost)
        answer = await there.ask("auto")
        assert (answer.status_code, answer.headers["x-entroute-tier"]) == (200, left)
        assert answer.headers["x-entroute-degraded"] == f"tier:{lost}"
        pinned = await there.ask(lost)
        assert pinned.status_code == 503
        assert int(pinned.headers["retry-after"]) >= 1
        for worker in there.workers(lost):
            await worker.start()
        await there.until_up(lost, len(there.workers(lost)))
        answer = await there.ask("auto")
        assert answer.headers["x-entroute-tier"] == lost


async def test_killed_unnoticed_the_other_tier_answers_too(tmp_path: Path) -> None:
    changes = {
        "policy": {"kind": "static", "tier": "large", "strategy": "single"},
        "health": {"interval_s": 600},
    }
    async with site(tmp_path, changes=changes) as there:
        await there.workers("large")[0].kill()
        answer = await there.ask("auto")
        assert (answer.status_code, answer.headers["x-entroute-tier"]) == (200, "small")
        assert answer.headers["x-entroute-degraded"] == "tier:large"


async def test_with_all_down_clients_are_told_to_come_back(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        await down(there, "small", "large")
        for stream in (False, True):
            answer = await there.ask("auto", stream=stream)
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.headers["x-should-retry"] == "true"
            assert answer.json()["error"]["type"] == "server_error"
        ready = await there.http.get(f"{there.gateway.url}/readyz")
        assert ready.status_code == 200  # taking the gateway out of service would mend nothing
