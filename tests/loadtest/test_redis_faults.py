"""Whatever happens to Redis, clients get their answers."""

import pytest

from loadtest.redis_faults import Traffic, report

TRAFFIC = Traffic(rate=20, seconds=1.5, prompts=5)


@pytest.mark.parametrize("fault", ["killed", "out of memory", "speaks garbage"])
async def test_a_fault_of_redis_costs_no_answer(
    fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await report(TRAFFIC, [fault])
    head, _, row = capsys.readouterr().out.strip().splitlines()
    cells = dict(zip(head.split(" | "), row.split(" | "), strict=True))
    assert (cells["requests"], cells["200"], cells["errors"]) == ("90", "90", "0")
    assert cells["s until the cache serves again |"] != "never |"
