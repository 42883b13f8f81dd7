"""A chaos run's faults and requests are drawn from its seed and keep their rules."""

import gzip
from itertools import pairwise
from pathlib import Path

import pytest

from loadtest.chaos import FLEET, arguments, plan_of
from loadtest.chaos_load import SAMPLE, Shape, Wish, planned, read_trace
from loadtest.chaos_schedule import (
    ALL_FAULTS,
    GATEWAY,
    REDIS,
    REST_S,
    WORKER_FAULTS,
    Fault,
    Period,
    schedule,
)

PERIOD = Period(10, 590, 3)
SHAPE = Shape(600, 200, pace=15, ttft_s=0.2)


def faults(seed: int, period: Period = PERIOD) -> list[Fault]:
    return schedule(FLEET, ALL_FAULTS, period, seed)


def wishes(seed: int = 0, shape: Shape = SHAPE) -> list[Wish]:
    return planned(read_trace(SAMPLE), shape, seed)


def test_the_same_seed_breaks_the_same():
    assert faults(1) == faults(1) != faults(2)


def test_faults_stay_within_their_period_and_come_in_order():
    found = faults(3)
    assert all(PERIOD.start <= fault.at < fault.end <= PERIOD.end for fault in found)
    assert all(one.at <= other.at for one, other in pairwise(found))
    assert len(found) > 100


def test_every_kind_comes():
    assert {fault.kind for fault in faults(4)} == set(ALL_FAULTS)


@pytest.mark.parametrize("seed", range(5))
def test_a_tier_always_keeps_a_sound_worker(seed: int):
    found = faults(seed, Period(0, 600, 0.5))
    for moment in (fault.at for fault in found):
        broken = {f.target for f in found if f.at <= moment < f.end + REST_S}
        assert all(set(workers) - broken for workers in FLEET.values())


@pytest.mark.parametrize("seed", range(5))
def test_a_part_breaks_one_way_at_a_time(seed: int):
    found = faults(seed, Period(0, 600, 0.5))
    for target in ("small0", "large1", REDIS, GATEWAY):
        own = [fault for fault in found if fault.target == target]
        assert all(one.end + REST_S <= other.at for one, other in pairwise(own))


def test_scripted_faults_tell_the_worker_what_to_do():
    scripted = [fault for fault in faults(5) if fault.kind in WORKER_FAULTS]
    assert all(bool(f.script) != (f.kind in {"killed", "paused"}) for f in scripted)


def test_no_kinds_are_no_faults():
    assert schedule(FLEET, [], PERIOD, 0) == []


def test_about_as_many_requests_are_open_as_wanted():
    found = wishes()
    busy = sum(SHAPE.ttft_s + wish.tokens / SHAPE.pace for wish in found)
    assert busy / SHAPE.seconds == pytest.approx(SHAPE.concurrency, rel=0.15)
    assert all(wish.at < SHAPE.seconds for wish in found)


def test_requests_are_asked_in_every_way():
    found = wishes()
    ways = {(w.way.model, w.way.stream, w.way.options.get("strategy")) for w in found}
    assert len(ways) == 12
    assert any(wish.leaves_s for wish in found)
    assert any(wish.own_deadline for wish in found)
    assert any(wish.max_tokens for wish in found)
    assert found == wishes()
    assert found != wishes(1)


def test_prompts_have_names_of_their_own_unless_they_are_asked_again():
    names = [wish.name for wish in wishes() if not wish.way.again]
    assert len(set(names)) == len(names)
    again = [wish for wish in wishes() if wish.way.again]
    assert len({wish.name for wish in again}) < len(again) / 10
    bodies = {wish.name: wish.body()["messages"] for wish in again}
    assert all(wish.body()["messages"] == bodies[wish.name] for wish in again)


def test_a_packed_trace_is_read_as_well(tmp_path: Path):
    packed = tmp_path / "trace.csv.gz"
    packed.write_bytes(gzip.compress(SAMPLE.read_bytes()))
    assert read_trace(packed) == read_trace(SAMPLE)


def test_the_command_draws_a_run():
    plan = plan_of(arguments(["--minutes", "1", "--concurrency", "20", "--without", "killed"]))
    assert plan.shape.seconds == 60
    assert "killed" not in {fault.kind for fault in plan.faults}
    only = plan_of(arguments(["--minutes", "1", "--fault", "paused"]))
    assert {fault.kind for fault in only.faults} == {"paused"}
