"""How many workers traffic takes."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entroute.errors import ConfigurationError
from entroute.evaluation.lengths import Lengths, Spread
from entroute.evaluation.sizing import (
    GatewayCost,
    Need,
    Sizing,
    Supply,
    Target,
    Traffic,
    alone,
    size,
)
from entroute.evaluation.sizing_workers import Worker, busy_at, capacity
from entroute.evaluation.step_times import IdealisedSteps
from tests.evaluation.forward_times import slow_gpu

LENGTHS = Lengths(((100.0, 51.0),))
WORKER = Worker(IdealisedSteps(prompt_s=0.001, token_s=0.02), 8, 10_000)
TRAFFIC = Traffic(20.0, LENGTHS)
SUPPLY = Supply(WORKER, gpus=1, usd_per_gpu_hour=2.0)
ONE = {"small": Need(1.0, 1.0)}
DEFAULT = Target()


def sized(
    traffic: Traffic = TRAFFIC,
    needs: Mapping[str, Need] = ONE,
    supply: Supply = SUPPLY,
    target: Target = DEFAULT,
) -> Sizing:
    return size(traffic, needs, {"small": supply}, target, GatewayCost())


def test_one_request_has_the_idealised_runtime():
    busy = busy_at(WORKER, 1e-6, LENGTHS)
    assert busy is not None
    assert busy.readings[0] + 50 * busy.token_s == pytest.approx(100 * 0.001 + 50 * 0.02, rel=1e-3)


def test_a_full_worker_does_what_its_runtime_says():
    # T(p, o) over the batch, the unit that profiles charge by; the first token comes with reading.
    each = 100 * 0.001 + 50 * 0.02 / 8
    assert capacity(WORKER, LENGTHS) == pytest.approx(1 / each, rel=0.01)


def test_batch_is_what_littles_law_says():
    busy = busy_at(WORKER, 3.0, LENGTHS)
    assert busy is not None
    assert busy.batch == pytest.approx(3.0 * 50 * busy.token_s, rel=0.05)
    assert busy_at(WORKER, 20.0, LENGTHS) is None


def test_utilisation_stays_below_the_target():
    found = sized(target=Target(utilisation=0.52)).tiers["small"]
    assert found.utilisation <= 0.52
    assert found.replicas == 9  # 20 calls a second, 52% of 4.44 a worker


def test_a_bound_on_the_first_token_adds_workers():
    few, many = sized().tiers["small"], sized(target=Target(ttft_s=0.14)).tiers["small"]
    assert few.ttft_s > 0.14 >= many.ttft_s
    assert many.replicas > few.replicas


def test_a_bound_that_reading_alone_breaks_is_refused():
    with pytest.raises(ConfigurationError, match=r"target.ttft_s: tier small"):
        sized(target=Target(ttft_s=0.05))


def test_traffic_beyond_any_fleet_is_said_to_be_that():
    with pytest.raises(ConfigurationError, match=r"tiers\.small: .* more than 10000 workers"):
        sized(replace(TRAFFIC, rate=1e6))


def test_answers_that_never_end_are_refused():
    with pytest.raises(ConfigurationError, match=r"traffic: answers of 1e\+14 tokens"):
        sized(replace(TRAFFIC, lengths=Lengths(((1.0, 1e14),))))


def test_a_worker_that_reads_for_nothing_is_bound_by_its_answers():
    steps = IdealisedSteps(prompt_s=0.0, token_s=0.02)
    # 8 answers at once, each of 50 steps after its first token.
    most = 8 / (50 * 0.02)
    assert capacity(Worker(steps, 8, 10_000), LENGTHS) == pytest.approx(most, rel=0.25)


def test_every_call_is_charged():
    plain, voted = sized(), sized(needs={"small": Need(calls=4.0, answers=4.0)})
    assert voted.tiers["small"].calls_per_s == 4 * plain.tiers["small"].calls_per_s
    assert voted.usd_per_hour >= 3.5 * plain.usd_per_hour


def test_cost_is_that_of_all_gpus():
    found = sized(supply=replace(SUPPLY, gpus=4))
    assert found.usd_per_hour == found.tiers["small"].replicas * 8.0
    assert found.usd_per_thousand == pytest.approx(found.usd_per_hour / (20 * 3.6))


def test_what_caches_hold_need_not_be_read():
    assert sized(replace(TRAFFIC, cached=0.8)).usd_per_hour < sized().usd_per_hour
    assert sized(replace(TRAFFIC, answered=0.5)).usd_per_hour < sized().usd_per_hour


def test_a_tier_that_nothing_is_asked_of_is_left_out():
    needs = {"small": Need(1.0, 1.0), "large": Need(0.0, 0.0)}
    found = size(TRAFFIC, needs, {"small": SUPPLY, "large": SUPPLY}, Target(), GatewayCost())
    assert set(found.tiers) == {"small"}


def test_each_tier_alone_is_shown():
    slow = replace(SUPPLY, worker=replace(WORKER, steps=IdealisedSteps(0.004, 0.08)))
    found = alone(TRAFFIC, {"small": SUPPLY, "large": slow}, Target(), GatewayCost())
    assert found["large"].usd_per_hour > 3 * found["small"].usd_per_hour


def test_gateways_are_counted_by_their_cpu():
    # 2,000 requests a second of 51 tokens: 1.4 ms and 51 x .15 ms of CPU each, 60% of a core.
    found = sized(replace(TRAFFIC, rate=2000.0))
    assert found.gateways == -(-2000 * (0.0014 + 51 * 0.00015) // 0.6)
    assert sized().gateways == 2


def test_kv_cache_bounds_the_answers_at_once():
    assert replace(WORKER, kv_tokens=400).room(LENGTHS) == 3
    assert replace(WORKER, kv_tokens=10).room(LENGTHS) == 1
    assert capacity(replace(WORKER, kv_tokens=400), LENGTHS) < capacity(WORKER, LENGTHS)


@settings(deadline=None, max_examples=12)
@given(st.floats(0.5, 200), st.floats(20, 3000), st.floats(2, 500), st.floats(0, 2))
def test_fleets_grow_with_traffic(rate: float, prompt: float, answer: float, cv: float):
    lengths = Lengths.spread(Spread(prompt, cv), Spread(answer, cv))
    supply = Supply(Worker(slow_gpu(), 64, 512, 50_000), 1, 2.0)
    target = Target(utilisation=0.8)
    less, more = (
        size(Traffic(r, lengths), ONE, {"small": supply}, target, GatewayCost()).tiers["small"]
        for r in (rate, 2 * rate)
    )
    assert less.replicas <= more.replicas <= 2 * less.replicas + 1
    for tier in (less, more):
        assert 0 < tier.utilisation <= 0.8 + 1e-9
        assert tier.busy.batch <= supply.worker.room(lengths)
