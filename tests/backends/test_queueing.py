"""A tier's queue before workers that are no more than counters."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entroute.backends.queueing import DrainRate, QueueLimits, TierQueue
from entroute.errors import DeadlineExceeded, EntrouteError, Overloaded, TierUnavailable
from entroute.priorities import ANYBODY, PRIORITIES, Priority, Turn
from tests.scripted import FakeClock

LATER = 1e9
PATIENT = QueueLimits(timeout_s=LATER)


@dataclass
class Errand:
    turn: Turn = ANYBODY
    deadline: float = LATER
    shuns: frozenset[str] = frozenset()
    asked: bool = False


@dataclass
class Doors:
    """Workers by name, each with the calls that it answers; all take the same number."""

    cap: int = 1
    busy: dict[str, int] = field(default_factory=lambda: {"a": 0})
    down: set[str] = field(default_factory=set)

    @property
    def available(self) -> bool:
        return bool(self.busy.keys() - self.down)

    @property
    def any_room(self) -> bool:
        return any(self.busy[name] < self.cap for name in self.busy.keys() - self.down)

    def room(self, errand: Errand) -> list[str]:
        able = [n for n in self.busy if n not in self.down and n not in errand.shuns]
        if not able:
            raise TierUnavailable("t")
        return [name for name in able if self.busy[name] < self.cap]

    def take(self, _: Errand, among: Sequence[str]) -> str:
        chosen = min(among, key=lambda name: self.busy[name])
        self.busy[chosen] += 1
        return chosen

    def left(self, member: str) -> None:
        self.busy[member] -= 1


@dataclass(eq=False)
class Client:
    """A call on its way; it holds its place until it is told to end."""

    queue: TierQueue[Errand, str]
    doors: Doors
    errand: Errand
    ends: asyncio.Event = field(default_factory=asyncio.Event)
    at: str | None = None

    async def run(self) -> None:
        member = self.at = await self.queue.place(self.errand)
        try:
            await self.ends.wait()
        finally:
            self.at = None
            self.doors.left(member)
            self.queue.freed()


@dataclass
class Scene:
    """A queue and everybody who came to it, in order."""

    doors: Doors = field(default_factory=Doors)
    limits: QueueLimits = PATIENT
    clock: FakeClock = field(default_factory=FakeClock)
    tasks: dict[Client, asyncio.Task[None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.queue: TierQueue[Errand, str] = TierQueue("t", self.doors, self.limits, self.clock)

    async def come(self, errand: Errand | None = None) -> Client:
        client = Client(self.queue, self.doors, errand or Errand())
        self.tasks[client] = asyncio.create_task(client.run())
        await settle()
        return client

    def inside(self) -> list[Client]:
        return [client for client in self.tasks if client.at is not None]

    def outside(self) -> list[Client]:
        return [c for c, task in self.tasks.items() if c.at is None and not task.done()]

    async def end(self, client: Client) -> None:
        client.ends.set()
        await settle()

    async def leave(self, client: Client) -> None:
        self.tasks[client].cancel()
        await settle()

    async def error_of(self, client: Client) -> BaseException | None:
        (found,) = await asyncio.gather(self.tasks[client], return_exceptions=True)
        return found

    async def close(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


async def settle() -> None:
    """Let everything run that can run now."""
    for _ in range(6):
        await asyncio.sleep(0)


def urgent(priority: Priority, caller: str = "") -> Errand:
    return Errand(Turn(priority, caller))


async def test_where_there_is_room_nobody_waits_and_no_timer_is_begun() -> None:
    scene = Scene(Doors(cap=2))
    loop = asyncio.get_running_loop()
    place = scene.queue.place(Errand())
    with pytest.raises(StopIteration) as ended:
        place.send(None)  # it comes to its end without once giving the loop control
    assert ended.value.value == "a"
    assert scene.queue.waiting == 0
    assert not [handle for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]


async def test_a_place_that_comes_free_wakes_exactly_one() -> None:
    scene = Scene()
    first, second, third = [await scene.come() for _ in range(3)]
    assert (scene.inside(), scene.queue.waiting) == ([first], 2)
    await scene.end(first)
    assert (scene.inside(), scene.queue.waiting) == ([second], 1)
    await scene.end(second)
    assert (scene.inside(), scene.queue.waiting) == ([third], 0)
    await scene.close()
    assert scene.doors.busy == {"a": 0}


async def test_a_newcomer_does_not_overtake_whoever_waits_for_another_worker() -> None:
    scene = Scene(Doors(busy={"a": 0, "b": 1}))
    shy = await scene.come(Errand(shuns=frozenset("a")))
    assert scene.outside() == [shy]
    other = await scene.come()
    assert other.at == "a"  # it may go where the first one may not
    waiting = await scene.come()
    scene.doors.left("b")
    scene.queue.freed()
    await settle()
    assert (shy.at, waiting.at) == ("b", None)
    await scene.close()


async def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    scene = Scene(limits=QueueLimits(size=1, timeout_s=LATER))
    for _ in range(2):
        await scene.come()
    late = await scene.come()
    error = await scene.error_of(late)
    assert isinstance(error, Overloaded)
    assert 1 <= error.retry_after_s <= 60
    assert scene.queue.shed == {"full": 1}
    await scene.close()


async def test_a_queue_of_no_size_lets_nobody_wait() -> None:
    scene = Scene(limits=QueueLimits(size=0))
    await scene.come()
    assert isinstance(await scene.error_of(await scene.come()), Overloaded)
    await scene.close()


async def test_a_more_urgent_call_takes_the_place_of_the_newest_of_the_lowest() -> None:
    scene = Scene(limits=QueueLimits(size=2, timeout_s=LATER))
    await scene.come()
    old, new = await scene.come(urgent("low")), await scene.come(urgent("low"))
    high = await scene.come(urgent("high"))
    assert isinstance(await scene.error_of(new), Overloaded)
    assert scene.outside() == [old, high]
    assert scene.queue.shed == {"displaced": 1}
    await scene.close()


async def test_whoever_waits_too_long_is_refused() -> None:
    scene = Scene(limits=QueueLimits(timeout_s=0.05))
    await scene.come()
    assert isinstance(await scene.error_of(await scene.come()), Overloaded)
    assert scene.queue.shed == {"timeout": 1}
    assert scene.queue.waiting == 0
    await scene.close()


async def test_a_deadline_that_passes_in_the_queue_is_no_refusal() -> None:
    clock = FakeClock()
    scene = Scene(clock=clock)
    await scene.come()
    late = await scene.come(Errand(deadline=clock.now + 0.05))
    clock.advance(1)
    assert isinstance(await scene.error_of(late), DeadlineExceeded)
    assert not scene.queue.shed
    await scene.close()


async def test_who_leaves_is_gone_at_once() -> None:
    scene = Scene(limits=QueueLimits(size=1, timeout_s=LATER))
    await scene.come()
    gone = await scene.come()
    await scene.leave(gone)
    assert scene.queue.waiting == 0
    assert (await scene.come()) in scene.outside()
    await scene.close()


async def test_a_place_given_to_whoever_leaves_in_that_moment_goes_to_the_next() -> None:
    scene = Scene()
    first, second, third = [await scene.come() for _ in range(3)]
    first.ends.set()
    await asyncio.sleep(0)  # the first one ends and the place is the second's, who sleeps still
    scene.tasks[second].cancel()
    await settle()
    assert scene.inside() == [third]
    await scene.close()
    assert scene.doors.busy == {"a": 0}


async def test_all_who_wait_are_told_when_no_worker_is_left() -> None:
    scene = Scene()
    await scene.come()
    waiting = [await scene.come() for _ in range(3)]
    scene.doors.down.add("a")
    async with asyncio.timeout(10):
        errors = [await scene.error_of(client) for client in waiting]
    assert all(isinstance(error, TierUnavailable) for error in errors)
    await scene.close()


async def test_a_worker_that_comes_back_without_a_word_is_found() -> None:
    scene = Scene(Doors(busy={"a": 1, "b": 0}, down={"b"}))
    client = await scene.come()
    scene.doors.down.clear()
    async with asyncio.timeout(10):
        while client.at is None:  # noqa: ASYNC110 - what is tested is that nobody is told
            await asyncio.sleep(0.01)
    assert client.at == "b"
    await scene.close()


async def test_a_queue_that_follows_another_serves_its_calls_first() -> None:
    scene = Scene()
    running, old = await scene.come(), await scene.come()
    after = Scene(scene.doors)
    after.queue.follow(scene.queue)
    new = await after.come()
    assert (old.at, new.at) == (None, None)
    await scene.end(running)
    assert (old.at, new.at) == ("a", None)
    await scene.end(old)
    assert new.at == "a"
    last, stranger = await after.come(), await scene.come()
    await after.end(new)
    assert "a" in {last.at, stranger.at}
    await scene.close()
    await after.close()


def test_the_wait_is_told_by_how_fast_places_come_free() -> None:
    clock = FakeClock()
    rate = DrainRate(clock)
    assert rate.retry_after_s(1) == 60
    for _ in range(300):
        clock.advance(0.1)
        rate.note()
    assert rate.retry_after_s(100) == pytest.approx(10, abs=1)
    assert rate.retry_after_s(1) == 1
    assert rate.retry_after_s(10_000) == 60
    clock.advance(1000)
    assert rate.retry_after_s(1) == 60


def test_a_young_rate_is_not_taken_for_a_slow_one() -> None:
    clock = FakeClock()
    rate = DrainRate(clock)
    for _ in range(10):
        clock.advance(0.1)
        rate.note()
    assert rate.retry_after_s(100) == pytest.approx(10, abs=2)


ACTS = st.lists(
    st.one_of(
        st.tuples(
            st.just("come"),
            st.sampled_from(PRIORITIES),
            st.sampled_from(["x", "y"]),
            st.sampled_from(["", "", "a", "b"]),
        ),
        st.tuples(st.sampled_from(["end", "leave", "both"]), st.integers(0, 9)),
        st.tuples(st.sampled_from(["down", "up", "add"]), st.sampled_from("abc")),
        st.tuples(st.just("cap"), st.integers(1, 3)),
    ),
    max_size=40,
)


async def act(scene: Scene, what: str, *facts: object) -> None:
    """Do one of `ACTS`."""
    doors = scene.doors
    match what, *facts:
        case "come", str(priority), str(caller), str(shuns):
            turn = Turn(priority, caller)  # type: ignore[arg-type]
            await scene.come(Errand(turn, shuns=frozenset(shuns), asked=bool(shuns)))
        case (("end" | "both"), int(place)) if inside := scene.inside():
            inside[place % len(inside)].ends.set()
            if what == "both" and (outside := scene.outside()):
                await asyncio.sleep(0)
                scene.tasks[outside[0]].cancel()  # who may have been given the place just now
        case "leave", int(place) if outside := scene.outside():
            scene.tasks[outside[place % len(outside)]].cancel()
        case (("down" | "up" | "add"), str(name)):
            if what == "add":
                doors.busy.setdefault(name, 0)
            (doors.down.add if what == "down" else doors.down.discard)(name)
        case "cap", int(cap):
            doors.cap = cap
        case _:
            return
    await settle()
    scene.queue.look()
    await settle()


@settings(max_examples=150, deadline=None)
@given(ACTS)
def test_no_place_is_lost_or_given_twice_whatever_happens(acts: list[tuple[object, ...]]) -> None:
    async def story() -> None:
        scene = Scene(Doors(busy={"a": 0, "b": 0}), QueueLimits(size=4, timeout_s=LATER))
        most = scene.doors.cap
        for what, *facts in acts:
            most = max(most, scene.doors.cap)
            await act(scene, str(what), *facts)
            doors, outside = scene.doors, scene.outside()
            at = Counter(client.at for client in scene.inside())
            assert all(at[name] == busy for name, busy in doors.busy.items())
            assert all(busy <= max(most, doors.cap) for busy in doors.busy.values())
            assert scene.queue.waiting == len(outside) <= 4
            for client in outside:  # nobody waits who could go
                assert doors.room(client.errand) == []
        failed = [t.exception() for t in scene.tasks.values() if t.done() and not t.cancelled()]
        refused = [e for e in failed if isinstance(e, Overloaded)]
        assert len(refused) == sum(scene.queue.shed.values())
        assert all(e is None or isinstance(e, EntrouteError) for e in failed)
        await scene.close()
        assert not any(scene.doors.busy.values())
        assert scene.queue.waiting == 0

    asyncio.run(story())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PRIORITIES), st.sampled_from("xyz")), max_size=30))
def test_every_call_that_waits_is_served_in_the_end_each_callers_in_order(
    turns: list[tuple[Priority, str]],
) -> None:
    async def story() -> None:
        scene = Scene()
        await scene.come()
        clients = [await scene.come(urgent(*turn)) for turn in turns]
        served: list[Client] = []
        while inside := scene.inside():
            served.extend(inside)
            await scene.end(inside[0])
        assert set(served[1:]) == set(clients)
        for turn in turns:
            mine = [c for c in served[1:] if c.errand == urgent(*turn)]
            assert mine == [c for c in clients if c.errand == urgent(*turn)]

    asyncio.run(story())
