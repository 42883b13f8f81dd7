"""A worker down: another before the first byte; its breaker opens on faults, never on 4xx."""

import asyncio
from pathlib import Path

import pytest

from tests.fault_sites import Site, site, until
from tests.openai_wire import read_events

BREAKER = {"breaker": {"failures": 3, "open_s": 0.5, "max_open_s": 0.5}}
OPEN = 2


async def opened(there: Site, worker: int = 0) -> bool:
    return await state(there, worker) == OPEN


async def state(there: Site, worker: int = 0) -> float:
    name = there.workers("small")[worker].url.removeprefix("http://")
    return await there.metric("entroute_worker_breaker_state", tier="small", worker=name)


async def test_killed_between_requests_nobody_sees_it(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        one, other = there.workers("small")
        for victim in (one, other):
            await victim.kill()
            answers = [await there.ask("small", stream=stream) for stream in (False, True) * 4]
            assert [answer.status_code for answer in answers] == [200] * 8
            assert all(read_events(answer.text).done for answer in answers[1::2])
            await victim.start()
            await there.until_up("small", 2)


async def test_killed_in_mid_answer_plain_requests_are_answered_and_streams_are_told(
    tmp_path: Path,
) -> None:
    async with site(tmp_path) as there:
        for worker in there.workers("small"):
            await worker.rescript(tokens=100, tokens_per_second=50)
        plain = [asyncio.ensure_future(there.ask("small")) for _ in range(8)]
        streams = [asyncio.ensure_future(there.ask("small", stream=True)) for _ in range(8)]
        victim = there.workers("small")[0]

        async def busy() -> bool:
            name = victim.url.removeprefix("http://")
            return await there.metric("entroute_worker_inflight", worker=name) >= 2

        await until(busy)
        await asyncio.sleep(0.5)
        await victim.kill()
        assert [answer.status_code for answer in await asyncio.gather(*plain)] == [200] * 8
        ends = [read_events(answer.text) for answer in await asyncio.gather(*streams)]
        cut = [events for events in ends if not events.done]
        assert 0 < len(cut) < len(ends)  # those of the killed worker, no others
        assert all(events.error is not None for events in cut)


@pytest.mark.parametrize(
    "failure",
    [
        {"kind": "status", "status": 500},
        {"kind": "malformed"},
        {"kind": "truncated"},
        {"kind": "content_type"},
    ],
    ids=lambda failure: failure["kind"],
)
async def test_a_worker_that_fails_is_left_alone_and_tried_again(
    tmp_path: Path, failure: dict[str, object]
) -> None:
    async with site(tmp_path, changes=BREAKER) as there:
        sick = there.workers("small")[0]
        await sick.rescript(failure=failure)

        async def sick_is_out() -> bool:
            assert (await there.ask("small", stream=True)).status_code == 200
            return await opened(there)

        await until(sick_is_out)
        await sick.mend()

        async def sick_is_back() -> bool:
            assert (await there.ask("small")).status_code == 200
            return await state(there) == 0

        await until(sick_is_back)
        assert await there.metric("entroute_requests_total", outcome="server_error") == 0


async def test_a_storm_of_bad_requests_opens_nothing(tmp_path: Path) -> None:
    async with site(tmp_path, changes=BREAKER) as there:
        for worker in there.workers("small"):
            await worker.rescript(failure={"kind": "status", "status": 400})
        answers = await asyncio.gather(*(there.ask("small") for _ in range(40)))
        assert {answer.status_code for answer in answers} == {400}
        assert [await state(there, worker) for worker in (0, 1)] == [0, 0]
        for worker in there.workers("small"):
            await worker.mend()
        assert (await there.ask("small")).status_code == 200


async def test_a_hung_worker_costs_one_time_limit_and_not_one_each(tmp_path: Path) -> None:
    changes = {**BREAKER, "timeouts": {"first_token_s": 1.0}}
    async with site(tmp_path, changes=changes) as there:
        there.workers("small")[0].pause()

        async def out() -> bool:
            answer = await there.ask("small", stream=True)
            assert answer.status_code == 200
            name = there.workers("small")[0].url.removeprefix("http://")
            up = await there.metric("entroute_worker_up", worker=name)
            return up == 0 or await opened(there)

        await until(out)
        there.workers("small")[0].resume()
        await there.until_up("small", 2)
