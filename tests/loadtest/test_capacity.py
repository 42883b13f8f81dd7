"""Simulated fleets against theory, and what must always hold."""

import math
from collections.abc import Sequence
from pathlib import Path
from random import Random
from statistics import fmean

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from entroute.backends.balancing import BalancerKind
from entroute.deciding import shipped_profile
from entroute.evaluation.lengths import Arrival, Lengths
from entroute.evaluation.queueing import erlang_c
from entroute.evaluation.sizing_workers import Worker, busy_at
from entroute.evaluation.step_times import IdealisedSteps
from entroute.profile.profile import read_profile
from loadtest.capacity import LIVE_PLANS, needs_of_ways
from loadtest.capacity_fleet import Asked, Fleet, TierSpec, instructions
from loadtest.capacity_traffic import Stage, Way, always, cascade, planned
from tests.evaluation.forward_times import slow_gpu

SAMPLE = Path("loadtest/traces/azure_2023_conv_sample.csv")
IDEAL = Worker(IdealisedSteps(prompt_s=0.001, token_s=0.01), 8, 10_000)
SMALL = always("small")


def drawing(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - a test repeats itself


def ran(  # noqa: PLR0917 - all but two are left out mostly
    worker: Worker,
    arrivals: Sequence[Arrival],
    replicas: int = 1,
    balancer: BalancerKind = "least_loaded",
    max_in_flight: int | None = None,
    ways: Sequence[Way] = SMALL,
) -> list[Asked]:
    spec = TierSpec(worker, replicas, balancer, max_in_flight)
    return Fleet({"small": spec, "large": spec}, ways, drawing(0)).run(arrivals)


def poisson(rate: float, count: int, rng: Random, answer: int = 0) -> list[Arrival]:
    """Return arrivals; answers of that length, or geometric ones of mean 100."""
    at_s, found = 0.0, []
    for _ in range(count):
        at_s += rng.expovariate(rate)
        length = answer or 1 + int(math.log(1 - rng.random()) / math.log(0.99))
        found.append(Arrival(at_s, 1, length))
    return found


def waits(asked: Sequence[Asked]) -> float:
    return fmean(request.works[0][1].begun_s - request.arrival.at_s for request in asked)


def test_one_request_has_the_idealised_runtime():
    request = ran(IDEAL, [Arrival(0.0, 200, 51)])[0]
    assert request.first_s == pytest.approx(200 * 0.001)
    assert request.done_s == pytest.approx(200 * 0.001 + 50 * 0.01)


def test_one_request_takes_the_forward_times_of_its_steps():
    worker = Worker(slow_gpu(), 8, 1024)
    request = ran(worker, [Arrival(0.0, 1280, 11)])[0]
    steps = slow_gpu()
    reading = 0.070 + 0.020 + 2 * steps.overhead_s + 1280**2 / 2 * steps.pair_s
    context = sum(1281 + i for i in range(10)) * steps.context_s
    assert request.first_s == pytest.approx(reading, rel=1e-6)
    assert request.done_s - request.first_s == pytest.approx(
        10 * (0.010 + steps.overhead_s) + context, rel=1e-6
    )


def test_a_prompt_that_arrives_meanwhile_is_read_after_the_step_under_way():
    first, second = ran(IDEAL, [Arrival(0.0, 100, 1001), Arrival(1.003, 100, 2)])
    # Steps of the first end at .100, .110, ...: the one under way at 1.003 ends at 1.010.
    assert second.works[0][1].begun_s == pytest.approx(1.010)
    assert second.first_s == pytest.approx(1.010 + 0.1 + 0.01)
    assert first.done_s == pytest.approx(0.1 + 1000 * 0.01 + 0.1)


def test_one_place_and_equal_answers_wait_as_in_m_d_1():
    worker = Worker(IdealisedSteps(0.0, 0.01), 1, 10_000)
    asked = ran(worker, poisson(0.7, 20_000, drawing(1), answer=101))
    assert waits(asked) == pytest.approx(0.7 / (2 * 0.3), rel=0.1)


@pytest.mark.parametrize(("places", "replicas", "limit"), [(1, 4, 1), (4, 1, None)])
def test_places_and_geometric_answers_wait_as_in_m_m_c(
    places: int, replicas: int, limit: int | None
):
    # Four places: behind the gateway's queue, one a worker; or at one worker that has the queue.
    worker = Worker(IdealisedSteps(0.0, 0.01), places, 10_000)
    arrivals = poisson(3.2, 30_000, drawing(2))
    asked = ran(worker, arrivals, replicas, max_in_flight=limit)
    service = fmean((a.answer - 1) * 0.01 for a in arrivals)
    expected = erlang_c(4, 3.2 * service) / (4 / service - 3.2)
    assert waits(asked) == pytest.approx(expected, rel=0.15)


def test_littles_law_and_the_calculators_batch():
    worker = Worker(slow_gpu(), 64, 1024, 400_000)
    rng = drawing(3)
    at_s, arrivals = 0.0, []
    for _ in range(4000):
        at_s += rng.expovariate(3.0)
        arrivals.append(Arrival(at_s, 300, 120))
    asked = ran(worker, arrivals)
    stays = [request.done_s - request.first_s for request in asked]
    busy = busy_at(worker, 3.0, Lengths(((300, 120),)))
    assert busy is not None
    assert busy.batch == pytest.approx(fmean(stays) * 3.0, rel=0.15)
    assert busy.token_s == pytest.approx(fmean(stays) / 119, rel=0.15)


LENGTHS = st.tuples(st.floats(0, 20), st.integers(1, 3000), st.integers(1, 300))


@settings(deadline=None, max_examples=60)
@example([(0.0, 1, 1)] * 7 + [(0.0, 279, 10), (0.0, 2675, 1)], 2, "prefix_affinity", None, 0.0)
@given(
    st.lists(LENGTHS, min_size=1, max_size=40),
    st.integers(1, 4),
    st.sampled_from(("prefix_affinity", "least_loaded", "round_robin")),
    st.one_of(st.none(), st.integers(1, 3)),
    st.floats(0, 1),
)
def test_every_request_ends_once_and_in_order(
    rows: list[tuple[float, int, int]],
    replicas: int,
    balancer: BalancerKind,
    limit: int | None,
    escalated: float,
):
    arrivals = [Arrival(t, p, o, tuple(map(str, range(p // 512)))) for t, p, o in sorted(rows)]
    worker = Worker(slow_gpu(), 4, 512, 5000)
    asked = ran(worker, arrivals, replicas, balancer, limit, cascade(escalated, 24))
    assert [request.arrival for request in asked] == arrivals
    for request in asked:
        assert request.arrival.at_s < request.first_s <= request.done_s < math.inf
        assert len(request.works) == sum(request.counts)
        for _, work in request.works:
            assert work.given_s <= work.sent_s <= work.begun_s < work.first_s <= work.done_s
            assert work.read == work.prompt
            assert 0 <= work.cached < work.prompt


@settings(deadline=None, max_examples=25)
@given(st.lists(LENGTHS, min_size=2, max_size=40), st.integers(1, 3))
def test_workers_are_never_busier_than_the_clock(rows: list[tuple[float, int, int]], replicas: int):
    arrivals = [Arrival(t, p, o) for t, p, o in sorted(rows)]
    spec = TierSpec(Worker(slow_gpu(), 4, 512, 5000), replicas, "least_loaded")
    fleet = Fleet({"small": spec}, SMALL, drawing(0))
    end = max(request.done_s for request in fleet.run(arrivals))
    for worker in fleet.tiers["small"].workers:
        assert 0 <= worker.busy_s <= end + 1e-9
        assert worker.in_flight == 0
        # A prompt that is longer than the cache is let in alone.
        assert worker.most_held <= max(5000, *(a.prompt + a.answer for a in arrivals))


def test_more_workers_are_never_later():
    arrivals = poisson(4.0, 3000, drawing(4))
    late = []
    for replicas in (1, 2, 4):
        asked = ran(Worker(IdealisedSteps(0.001, 0.01), 4), arrivals, replicas)
        late.append(fmean(request.done_s - request.arrival.at_s for request in asked))
    assert late[0] > late[1] >= late[2]


def test_shared_beginnings_are_read_once():
    blocks = ("a", "b", "c", "d")
    worker = Worker(slow_gpu(), 8, 1024, 100_000)
    first, second = ran(worker, [Arrival(0.0, 2048, 4, blocks), Arrival(9.0, 2048, 4, blocks)])
    assert first.works[0][1].cached == 0
    assert second.works[0][1].cached == 2047
    assert second.first_s - 9.0 < first.first_s / 4


def test_affinity_finds_more_beginnings_than_turns_do():
    arrivals = [
        Arrival(float(i), 2048, 4, tuple(f"{i % 5}-{block}" for block in range(4)))
        for i in range(60)
    ]
    worker = Worker(slow_gpu(), 8, 1024, 6000)

    def found(balancer: BalancerKind) -> int:
        asked = ran(worker, arrivals, 3, balancer)
        return sum(request.works[0][1].cached for request in asked)

    assert found("prefix_affinity") > 1.5 * found("round_robin")


def test_a_system_prompt_draws_nobody_together():
    arrivals = [Arrival(i / 10, 1100, 40, ("0", f"own-{i}")) for i in range(40)]
    assert instructions(arrivals) == ("0",)
    asked = ran(Worker(slow_gpu(), 8, 1024), arrivals, 8, "prefix_affinity")
    least = ran(Worker(slow_gpu(), 8, 1024), arrivals, 8, "least_loaded")
    end, soonest = (max(request.done_s for request in run) for run in (asked, least))
    assert end < 1.3 * soonest


def test_an_escalated_cascade_spends_both_and_answers_late():
    up = ran(IDEAL, [Arrival(0.0, 100, 101)], ways=cascade(1.0, 11))[0]
    assert [(tier, work.answer) for tier, work in up.works] == [("small", 11), ("large", 101)]
    assert up.first_s == pytest.approx(0.1 + 0.10 + 0.1)
    stay = ran(IDEAL, [Arrival(0.0, 100, 101)], ways=cascade(0.0, 11))[0]
    assert stay.first_s == pytest.approx(0.1 + 0.10)  # the window is held back
    assert stay.done_s == pytest.approx(0.1 + 1.0)


def test_votes_come_whole():
    ways = (Way("votes", 1.0, (Stage("small", 3.0, streams=False),)),)
    asked = ran(IDEAL, [Arrival(0.0, 100, 11)], ways=ways)[0]
    assert len(asked.works) == 3
    assert asked.first_s == asked.done_s


def test_plans_make_the_calls_that_the_profile_says():
    profile = read_profile(shipped_profile())
    needs = needs_of_ways(planned(profile, LIVE_PLANS), 100.0)
    arrivals = [Arrival(100.0 * i, 10, 100) for i in range(3000)]
    asked = ran(IDEAL, arrivals, ways=planned(profile, LIVE_PLANS))
    for tier, need in needs.items():
        calls = sum(name == tier for request in asked for name, _ in request.works)
        assert calls / 3000 == pytest.approx(need.calls, rel=0.08)
