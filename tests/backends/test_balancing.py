from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.backends.balancing import (
    CALLS,
    LeastLoaded,
    PrefixAffinity,
    RoundRobin,
    build_balancer,
    within_bound,
)
from entroute.backends.pool import Pool
from entroute.backends.worker_load import Reports
from entroute.decisions import WorkerLoad
from entroute.protocols import Balancer
from entroute.types import Call
from tests.backends.test_affinity import LONG, chat, text, user
from tests.fakes import FakeWorkerView
from tests.scripted import FakeClock
from tests.workers import Connect

loads = st.lists(st.integers(0, 9), min_size=1, max_size=6)
weights = st.floats(0.1, 1.0)
fleets = st.lists(st.tuples(st.integers(0, 40), weights), min_size=1, max_size=8)
SYSTEM = {"role": "system", "content": LONG}


def views(*in_flight: int) -> list[FakeWorkerView]:
    return [FakeWorkerView(f"w{i}:80", calls) for i, calls in enumerate(in_flight)]


def telling(own: int, others: int, read_at: float = 0.0) -> FakeWorkerView:
    load = WorkerLoad(own + others, 0, others, 0.5, read_at)
    return FakeWorkerView(f"w{others}:80", own, load=load)


def conversation(topic: str, turns: int = 1) -> Call:
    messages = [SYSTEM, user(f"Tell me of {topic}.")]
    for turn in range(1, turns):
        messages += [{"role": "assistant", "content": LONG}, user(f"Go on, {turn}.")]
    return chat(*messages)


def picked(balancer: Balancer, workers: Sequence[FakeWorkerView], calls: int) -> list[int]:
    return [balancer.pick(workers, None) for _ in range(calls)]


def test_round_robin_takes_turns_whatever_the_load() -> None:
    assert picked(RoundRobin(), views(9, 0, 0), 6) == [0, 1, 2, 0, 1, 2]


def test_round_robin_survives_a_shrinking_pool() -> None:
    balancer = RoundRobin()
    assert balancer.pick(views(0, 0, 0), None) == 0
    assert {balancer.pick(views(0), None) for _ in range(3)} == {0}
    balancer.forget("http://w0:80/v1")
    assert balancer.pick(views(0), None) == 0


def test_round_robin_spares_a_worker_that_warms_up() -> None:
    workers = views(0, 0)
    workers[1].weight = 0.25
    assert Counter(picked(RoundRobin(), workers, 100)) == {0: 80, 1: 20}


@given(loads)
def test_the_least_loaded_is_taken(in_flight: list[int]) -> None:
    balancer = LeastLoaded()
    for _ in range(len(in_flight)):
        assert in_flight[balancer.pick(views(*in_flight), None)] == min(in_flight)


def test_ties_are_spread_evenly() -> None:
    balancer = LeastLoaded()
    found = Counter(picked(balancer, views(1, 0, 0), 30))
    assert set(found) == {1, 2}
    assert min(found.values()) >= 10


def test_the_least_loaded_counts_a_worker_that_warms_up_as_fuller() -> None:
    workers = views(3, 0)
    workers[1].weight = 0.2
    assert picked(LeastLoaded(), workers, 2) == [0, 0]


def test_what_others_have_in_a_worker_counts_while_it_is_fresh() -> None:
    clock = FakeClock()
    balancer = LeastLoaded(Reports(clock, fresh_s=10))
    workers = [telling(0, 5, clock()), telling(2, 0, clock())]
    assert picked(balancer, workers, 4) == [1, 1, 1, 1]
    clock.advance(10)
    assert picked(balancer, workers, 4) == [0, 0, 0, 0]


def test_stale_loads_and_equal_calls_are_round_robin() -> None:
    clock = FakeClock()
    balancer = LeastLoaded(Reports(clock, fresh_s=10))
    workers = [telling(1, others, clock()) for others in (7, 0, 3)]
    clock.advance(60)
    assert picked(balancer, workers, 6) == [0, 1, 2, 0, 1, 2]


def test_one_silent_worker_does_not_look_idle_beside_the_others() -> None:
    clock = FakeClock()
    balancer = LeastLoaded(Reports(clock, fresh_s=10))
    workers = [telling(1, 40, clock()), telling(2, 0, clock()), FakeWorkerView("silent:80", 2)]
    assert picked(balancer, workers, 3) == [0, 0, 0]


def test_the_next_turn_goes_where_the_last_one_went() -> None:
    balancer = PrefixAffinity()
    workers = views(0, 0, 0, 0)
    homes = {
        topic: {balancer.pick(workers, conversation(topic, turns)) for turns in (1, 2, 3, 4)}
        for topic in map(str, range(40))
    }
    assert all(len(home) == 1 for home in homes.values())
    assert set.union(*homes.values()) == {0, 1, 2, 3}


def test_a_conversation_stays_where_load_once_drove_it() -> None:
    balancer = PrefixAffinity()
    home = balancer.pick(views(0, 0), conversation("peace"))
    busy = [0, 0]
    busy[home] = 40
    assert balancer.pick(views(*busy), conversation("peace", 2)) != home
    assert balancer.pick(views(0, 0), conversation("peace", 3)) != home


def test_gateways_that_share_nothing_agree_on_what_neither_has_seen() -> None:
    workers = views(0, 0, 0, 0, 0)
    shuffled = workers[::-1]
    for topic in map(str, range(60)):
        there = workers[PrefixAffinity().pick(workers, conversation(topic))]
        assert shuffled[PrefixAffinity().pick(shuffled, conversation(topic, 2))] is there


def test_gateways_mostly_agree_though_each_keeps_caches_even_by_what_it_sent() -> None:
    one, other, workers = PrefixAffinity(), PrefixAffinity(), views(0, 0, 0, 0)
    for topic in map(str, range(400)):
        one.pick(workers, conversation(topic))
    later = [
        one.pick(workers, conversation(str(topic), 2))
        == other.pick(workers, conversation(str(topic), 2))
        for topic in range(200, 400)
    ]
    assert sum(later) > 170


def test_a_lost_worker_moves_only_its_own_prompts() -> None:
    workers = views(0, 0, 0, 0)
    topics = [str(number) for number in range(100)]
    before = {t: workers[PrefixAffinity().pick(workers, conversation(t))].url for t in topics}
    left = workers[1:]
    after = {t: left[PrefixAffinity().pick(left, conversation(t))].url for t in topics}
    moved = {topic for topic in topics if before[topic] != after[topic]}
    assert moved == {topic for topic in topics if before[topic] == workers[0].url}
    assert moved


def test_a_prompt_is_spread_by_how_conversations_begin_not_by_what_all_share() -> None:
    balancer = PrefixAffinity()
    found = Counter(balancer.pick(views(0, 0), conversation(str(i))) for i in range(200))
    assert min(found.values()) > 70


def test_tenants_do_not_share_a_worker_for_a_prompt_they_share() -> None:
    balancer, workers = PrefixAffinity(), views(0, 0, 0, 0)
    asked = conversation("peace")
    found = {balancer.pick(workers, replace(asked, salt=f"salt {i}")) for i in range(40)}
    assert found == {0, 1, 2, 3}


def test_short_prompts_and_embeddings_go_to_the_least_loaded() -> None:
    balancer = PrefixAffinity()
    for call in (chat(user("Hi")), text("Hi"), None):
        assert balancer.pick(views(3, 0, 3), call) == 1
    assert [balancer.pick(views(0, 0), chat(user("Hi"))) for _ in range(4)].count(0) == 2


def test_a_text_completion_that_goes_on_goes_where_it_began() -> None:
    balancer, workers = PrefixAffinity(), views(0, 0, 0, 0)
    for seed in range(20):
        begin = f"{seed} {LONG}"
        home = balancer.pick(workers, text(begin))
        assert balancer.pick(workers, text(begin + LONG)) == home


def samples(count: int, workers: int) -> list[int]:
    """Where so many samples of one prompt go at once, to idle workers."""
    balancer, fleet = PrefixAffinity(), views(*[0] * workers)
    for _ in range(count):
        fleet[balancer.pick(fleet, conversation("peace"))].in_flight += 1
    return sorted((worker.in_flight for worker in fleet), reverse=True)


@pytest.mark.parametrize(
    ("count", "workers", "spread"),
    [(8, 2, [8, 0]), (16, 2, [14, 2]), (8, 4, [6, 2, 0, 0]), (8, 8, [5, 3, *[0] * 6])],
)
def test_samples_of_one_prompt_share_a_worker_until_it_has_more_than_its_share(
    count: int, workers: int, spread: list[int]
) -> None:
    assert samples(count, workers) == spread


@given(fleets, st.integers(0, 3))
def test_no_worker_beyond_the_bound_is_taken(fleet: list[tuple[int, float]], topic: int) -> None:
    workers = views(*(calls for calls, _ in fleet))
    for worker, (_, weight) in zip(workers, fleet, strict=True):
        worker.weight = weight
    balancer = PrefixAffinity()
    for turns in (1, 2):
        index = balancer.pick(workers, conversation(str(topic), turns))
        assert index in within_bound(workers, [worker.in_flight for worker in workers], CALLS)


@given(fleets)
def test_the_bound_admits_the_least_loaded_and_few_beyond_their_share(
    fleet: list[tuple[int, float]],
) -> None:
    workers = views(*(calls for calls, _ in fleet))
    for worker, (_, weight) in zip(workers, fleet, strict=True):
        worker.weight = weight
    busy = [worker.in_flight for worker in workers]
    allowed = within_bound(workers, busy, CALLS)
    least = min(range(len(fleet)), key=lambda i: (busy[i] + 1) / workers[i].weight)
    assert least in allowed
    total = sum(worker.weight for worker in workers)
    share = [1.25 * (sum(busy) + 1) * worker.weight / total for worker in workers]
    assert all(busy[i] + 1 <= share[i] + 4 for i in allowed if i != least)


@given(st.integers(1, 300), st.integers(2, 8))
def test_one_prompt_for_all_loads_no_worker_beyond_the_bound(calls: int, workers: int) -> None:
    assert max(samples(calls, workers)) <= 1.25 * calls / workers + 4


def test_a_prompt_nobody_has_seen_leaves_its_home_sooner() -> None:
    workers = views(0, 0)
    home = PrefixAffinity().pick(workers, conversation("peace"))
    knowing = PrefixAffinity()
    knowing.pick(workers, conversation("peace"))
    workers[home].in_flight = 6
    assert knowing.pick(workers, conversation("peace")) == home
    assert PrefixAffinity().pick(workers, conversation("peace")) != home


def test_few_conversations_fill_no_cache_while_another_is_empty() -> None:
    balancer, workers = PrefixAffinity(), views(0, 0)
    topics = (str(number) for number in range(999))
    one_home = [t for t in topics if PrefixAffinity().pick(workers, conversation(t, 3)) == 0][:60]
    found = Counter(balancer.pick(workers, conversation(topic, 3)) for topic in one_home)
    assert found[0] <= 0.55 * 60 + 1
    assert found[0] > found[1]


def test_others_calls_count_for_the_bound() -> None:
    clock = FakeClock()
    balancer = PrefixAffinity(Reports(clock, fresh_s=10))
    workers = views(0, 0)
    home = balancer.pick(workers, conversation("peace"))
    workers[home].load = WorkerLoad(60, 0, 60, 0.9, clock())
    workers[1 - home].load = WorkerLoad(0, 0, 0, 0.0, clock())
    assert balancer.pick(workers, conversation("peace")) == 1 - home


def test_a_worker_that_warms_up_takes_fewer_prompts() -> None:
    workers = views(0, 0)
    workers[0].weight = 0.5
    balancer = PrefixAffinity()
    found = Counter(balancer.pick(workers, conversation(str(i))) for i in range(300))
    assert 60 < found[0] < 140


def test_a_worker_that_left_is_forgotten() -> None:
    balancer, workers = PrefixAffinity(), views(0, 0)
    home = balancer.pick(workers, conversation("peace"))
    busy = views(0, 0)
    busy[home].in_flight = 40
    away = balancer.pick(busy, conversation("peace"))
    balancer.forget(workers[away].url)
    assert balancer.pick(workers, conversation("peace", 2)) == home


async def test_a_pool_tells_its_balancer_who_is_gone(connect: Connect) -> None:
    balancer = PrefixAffinity()
    pool = Pool("small", [connect(f"http://127.0.0.1:{port}") for port in (1, 2)], balancer)
    both = pool.members
    asked = next(
        call
        for call in map(conversation, map(str, range(99)))
        if PrefixAffinity().pick(both, call) == 0
    )
    both[0].worker.in_flight = 40
    assert balancer.pick(both, asked) == 1
    both[0].worker.in_flight = 0
    assert balancer.pick(both, asked) == 1
    pool.replace(both[:1])
    pool.replace(both)
    assert balancer.pick(both, asked) == 0


class Unread(FakeWorkerView):
    """A worker of which nothing may be asked."""

    @property
    def url(self) -> str:
        raise AssertionError("a pool of one needs no balancing")


def test_a_pool_of_one_costs_nothing() -> None:
    assert PrefixAffinity().pick([Unread()], conversation("peace")) == 0


def test_balancers_are_built_by_name() -> None:
    assert isinstance(build_balancer("round_robin"), RoundRobin)
    assert isinstance(build_balancer("least_loaded"), LeastLoaded)
    assert isinstance(build_balancer("prefix_affinity"), PrefixAffinity)
