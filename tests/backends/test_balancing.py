from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from entroute.backends.balancing import LeastLoaded, RoundRobin, build_balancer
from tests.fakes import FakeWorkerView

loads = st.lists(st.integers(0, 9), min_size=1, max_size=6)


def views(*in_flight: int) -> list[FakeWorkerView]:
    return [FakeWorkerView(in_flight=calls) for calls in in_flight]


def test_round_robin_takes_turns_whatever_the_load() -> None:
    balancer = RoundRobin()
    assert [balancer.pick(views(9, 0, 0), None) for _ in range(6)] == [0, 1, 2, 0, 1, 2]


def test_round_robin_survives_a_shrinking_pool() -> None:
    balancer = RoundRobin()
    assert balancer.pick(views(0, 0, 0), None) == 0
    assert {balancer.pick(views(0), None) for _ in range(3)} == {0}


@given(loads)
def test_the_least_loaded_is_taken(in_flight: list[int]) -> None:
    balancer = LeastLoaded()
    for _ in range(len(in_flight)):
        assert in_flight[balancer.pick(views(*in_flight), None)] == min(in_flight)


def test_ties_are_spread_evenly() -> None:
    balancer = LeastLoaded()
    picked = Counter(balancer.pick(views(1, 0, 0), None) for _ in range(30))
    assert set(picked) == {1, 2}
    assert min(picked.values()) >= 10


def test_balancers_are_built_by_name() -> None:
    assert isinstance(build_balancer("round_robin"), RoundRobin)
    assert isinstance(build_balancer("least_loaded"), LeastLoaded)
