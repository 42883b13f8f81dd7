"""The measurement of what tracing costs."""

from random import Random

import pytest

from loadtest.spawn import fake_worker
from loadtest.tracing_overhead import _body, _child, _numbers, _settings, _turn, report
from tests.collector import collecting
from tests.gateway_process import ROOT


async def test_a_gateway_answers_in_turns_and_tells_what_each_cost() -> None:
    with collecting() as collector:
        async with fake_worker(model="qwen-small", tokens=4) as worker:
            settings = {**_settings(worker.url), "tracing": {"endpoint": collector.url}}
            async with _child(settings, ROOT / "service", _body({"model": "small"})) as process:
                for requests in (2, 3):
                    cost = await _turn(process, requests)
                    assert min(cost["loop_us"], cost["process_us"]) > 0
            assert len(await worker.requests()) == 5
    assert len(collector.requests) == 5


def test_twice_the_cost_is_a_ratio_of_two() -> None:
    off = {"loop_us": [10.0, 12.0, 11.0], "process_us": [20.0, 24.0, 22.0]}
    twice = {clock: [2 * value for value in values] for clock, values in off.items()}
    numbers = _numbers(twice, off, Random(1))  # noqa: S311 - a test repeats itself
    assert numbers["loop_us"] == {"median": 22.0, "ratio": 2.0, "interval": [2.0, 2.0]}
    lines = report({"single": {"on": numbers}}).splitlines()
    assert lines[1].split()[:4] == ["single", "on", "22", "2.000"]
    assert lines[0].startswith("asked")


async def test_a_gateway_that_fails_ends_the_measurement() -> None:
    async with fake_worker(model="qwen-small") as worker:
        body = _body({"model": "nobody"})
        async with _child(_settings(worker.url), ROOT / "service", body) as process:
            with pytest.raises(RuntimeError, match="ended"):
                await _turn(process, 1)
