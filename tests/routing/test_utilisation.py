"""How busy the fleet is taken to be."""

import pytest

from entroute.decisions import Load, TierLoad
from entroute.routing.utilisation import Utilisation
from tests.scripted import FakeClock


def a_load(in_flight: int, **facts: float) -> Load:
    queued = int(facts.get("queued", 0))
    tier = TierLoad(in_flight, 1, 1, kv_use=facts.get("kv_use"), queued=queued)
    return Load({"small": tier}, facts.get("age", 0))


def steady(in_flight: int, seconds: int = 120, *, use: Utilisation, clock: FakeClock) -> float:
    """Return the excess after so long a time at one load."""
    value = 0.0
    for _ in range(seconds):
        clock.now += 1
        value = use.excess(a_load(in_flight))
    return value


def of_ten(clock: FakeClock) -> Utilisation:
    return Utilisation({"small": 10.0}, clock, smoothing_s=5.0, stale_s=20.0)


@pytest.mark.parametrize(("in_flight", "excess"), [(0, 0.0), (7, 0.0), (10, 1.0), (13, 2.0)])
def test_it_grows_from_seven_tenths_of_a_batch_on(in_flight: int, excess: float) -> None:
    clock = FakeClock()
    assert steady(in_flight, use=of_ten(clock), clock=clock) == pytest.approx(excess, abs=1e-3)


def test_it_falls_later_than_it_rises() -> None:
    clock = FakeClock()
    use = of_ten(clock)
    rising = steady(8, use=use, clock=clock)
    steady(10, use=use, clock=clock)
    falling = steady(8, use=use, clock=clock)
    assert rising == pytest.approx(1 / 3, abs=1e-3)
    assert falling == pytest.approx(2 / 3, abs=1e-3)
    assert steady(6, use=use, clock=clock) == pytest.approx(0.0, abs=1e-3)


def test_one_burst_hardly_moves_it() -> None:
    clock = FakeClock()
    use = of_ten(clock)
    steady(1, use=use, clock=clock)
    clock.now += 0.1
    assert use.excess(a_load(30)) == 0.0


def test_a_full_cache_counts_as_a_full_batch() -> None:
    clock = FakeClock()
    use = of_ten(clock)
    for _ in range(60):
        clock.now += 1
        use.excess(a_load(0, kv_use=1.0))
    assert use.excess(a_load(0, kv_use=1.0)) == pytest.approx(1.0, abs=1e-3)


def test_stale_snapshots_say_nothing() -> None:
    clock = FakeClock()
    use = of_ten(clock)
    for _ in range(60):
        clock.now += 1
        assert use.excess(a_load(100, age=30.0)) == 0.0


def test_calls_that_wait_in_the_gateway_count() -> None:
    clock = FakeClock()
    use = of_ten(clock)
    for _ in range(200):
        clock.now += 1
        value = use.excess(a_load(5, queued=5))
    assert value == pytest.approx(1.0, abs=0.01)
