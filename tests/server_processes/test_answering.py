"""Several processes answer as one gateway."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from tests.api.conftest import Workers
from tests.api.test_limits import bearer, early_in_a_minute
from tests.keys import write_key_file
from tests.server_processes.conftest import Gateway, Serve

pytestmark = pytest.mark.asyncio(loop_scope="session")

REQUESTS = "entroute_requests_total"
LOOKUPS = "entroute_cache_lookups_total"


async def ask(gateway: Gateway, times: int) -> None:
    answers = await asyncio.gather(*(gateway.client.chat(f"Hi {n}") for n in range(times)))
    assert {answer.status_code for answer in answers} == {200}


async def test_requests_spread_and_any_process_tells_the_sums_of_all(
    serve: Serve, workers: Workers
):
    gateway = await serve(3)
    rounds = 0
    while len(gateway.answered_by()) < 3:  # all of them answered some
        rounds += 1
        assert rounds < 20
        await ask(gateway, 30)
        for _ in range(5):
            page = await gateway.page()
            assert total(page, REQUESTS) == 30 * rounds
            assert total(page, "entroute_request_duration_seconds_count") == 30 * rounds
            assert total(page, "entroute_upstream_attempts_total") == len(await workers.bodies())
    assert gateway.answered_by().total() == 30 * rounds
    worked = await workers.small.metrics()
    assert total(page, "entroute_tokens_total", kind="completion") == 30 * rounds * 16
    assert worked["vllm:num_requests_running"] == 0
    assert total(page, "entroute_processes_up") == 3
    assert total(page, "entroute_requests_in_flight") == 0
    assert "Traceback" not in gateway.served.log.read_text()


async def test_the_page_has_every_family_once(gateway: Gateway):
    await ask(gateway, 10)
    text = (await gateway.client.get("/metrics")).text
    heads = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(heads) == len(set(heads)) > 20
    series = [line.rpartition(" ")[0] for line in text.splitlines() if line[0] != "#"]
    assert len(series) == len(set(series))


async def test_forty_equal_requests_are_one_call(gateway: Gateway, workers: Workers):
    await workers.small.script(ttft_ms=1500)
    for attempt in range(10):
        calls, lines = len(await workers.bodies()), len(gateway.lines())
        before = await gateway.sample(LOOKUPS, kind="exact", result="shared")
        asks = (gateway.client.answer(f"The same {attempt}", temperature=0) for _ in range(40))
        answers = await asyncio.gather(*asks)
        assert len(await workers.bodies()) == calls + 1
        assert len({answer["choices"][0]["message"]["content"] for answer in answers}) == 1
        shared = await gateway.sample(LOOKUPS, kind="exact", result="shared")
        assert shared == before + 39
        if len({line["process"] for line in gateway.lines()[lines:]}) == 2:
            return
    pytest.fail("one process answered all of them, again and again")


async def test_a_limit_is_kept_to_the_request(serve: Serve, tmp_path: Path):
    limits = {"requests_per_minute": 40}
    keys = {f"k{n}": {"tenant": f"t{n}", "limits": limits} for n in range(10)}
    file = write_key_file(tmp_path / "keys.yaml", keys)
    gateway = await serve(auth={"keys_file": str(file), "when_redis_fails": "closed"})
    for key in keys:
        await early_in_a_minute()
        lines = len(gateway.lines())
        asks = (gateway.client.chat(f"Hi {n}", headers=bearer(key)) for n in range(120))
        answers = await asyncio.gather(*asks)
        assert Counter(answer.status_code for answer in answers) == {200: 40, 429: 80}
        if len({line["process"] for line in gateway.lines()[lines:]}) == 2:
            return
    pytest.fail("one process answered all of them, again and again")


async def test_a_label_may_go_to_any_process(gateway: Gateway, workers: Workers):
    answers = await asyncio.gather(*(gateway.client.chat(f"Hi {n}") for n in range(10)))
    told = [
        await gateway.client.post("feedback", {"id": answer.headers["x-request-id"], "right": True})
        for answer in answers
    ]
    assert {one.status_code for one in told} == {200}, told[0].text


async def test_every_process_says_that_it_is_ready(gateway: Gateway):
    for _ in range(10):
        ready = await gateway.client.get("/readyz")
        assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
    assert len(gateway.pids) == 2


def total(
    page: dict[tuple[str, tuple[tuple[str, str], ...]], float], name: str, **labels: str
) -> float:
    return sum(
        value
        for (sample, held), value in page.items()
        if sample == name and labels.items() <= dict(held).items()
    )
