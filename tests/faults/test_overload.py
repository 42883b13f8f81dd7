"""Overload: samples shrink, then calls wait in a bounded queue, then they are refused."""

import asyncio
from collections import Counter
from pathlib import Path

import httpx

from loadtest.fleet import Group
from tests.fault_sites import Site, site, text_of

ONE = [Group("small", 1, {"answer": "51", "ttft_ms": 400})]
VOTE = {"strategy": "self_consistency", "explain": True}


async def crowded(there: Site, requests: int) -> list[httpx.Response]:
    """Ask for plain answers at once."""
    return list(await asyncio.gather(*(there.ask("small") for _ in range(requests))))


async def test_what_the_queue_holds_is_answered_and_the_rest_is_told_when_to_come_back(
    tmp_path: Path,
) -> None:
    async with site(tmp_path, ONE, {"queue": {"size": 8}}, {"max_in_flight": 4}) as there:
        answers = await crowded(there, 40)
        statuses = Counter(answer.status_code for answer in answers)
        assert statuses == {200: 12, 503: 28}
        for answer in answers:
            if answer.status_code == 503:
                assert answer.json()["error"]["code"] == "overloaded"
                assert 1 <= int(answer.headers["retry-after"]) <= 60
                assert answer.headers["x-should-retry"] == "true"
        assert len(await there.workers("small")[0].running.requests()) == 12
        assert (await there.ask("small")).status_code == 200


async def test_samples_shrink_before_anything_is_refused(tmp_path: Path) -> None:
    async with site(tmp_path, ONE, tier={"max_in_flight": 8}) as there:
        alone = await there.ask("small", entroute=VOTE)
        crowd = [asyncio.ensure_future(there.ask("small")) for _ in range(16)]
        await asyncio.sleep(0.2)
        pressed = await there.ask("small", entroute=VOTE)
        assert {answer.status_code for answer in await asyncio.gather(*crowd)} == {200}
        assert pressed.status_code == 200, pressed.text
        assert text_of(pressed) == "51"
        assert int(pressed.headers["x-entroute-calls"]) < int(alone.headers["x-entroute-calls"])
        assert "load" in pressed.headers["x-entroute-degraded"]
        assert "x-entroute-degraded" not in alone.headers
        after = await there.ask("small", entroute=VOTE)
        assert after.headers["x-entroute-calls"] == alone.headers["x-entroute-calls"]
