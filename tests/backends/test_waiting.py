"""Who is next of those that wait: shares of priorities, turns of callers, who gives way."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.backends.waiting import WEIGHTS, WaitingLine
from entroute.priorities import PRIORITIES, Priority, Turn

_number = count()


@dataclass(eq=False)
class Call:
    turn: Turn
    number: int = field(default_factory=lambda: next(_number))


def a_call(priority: Priority = "normal", caller: str = "a") -> Call:
    return Call(Turn(priority, caller))


def line_of(*calls: Call) -> WaitingLine[Call]:
    line: WaitingLine[Call] = WaitingLine()
    for call in calls:
        line.add(call)
    return line


def anybody(_: Call) -> bool:
    return True


def taken(line: WaitingLine[Call]) -> Call:
    call = line.take(anybody)
    assert call is not None
    return call


CALLS = st.lists(
    st.builds(a_call, st.sampled_from(PRIORITIES), st.sampled_from("abc")), max_size=60
)


@given(CALLS)
def test_each_call_is_taken_once_and_those_of_one_caller_in_their_order(calls: list[Call]) -> None:
    line = line_of(*calls)
    seen = [taken(line) for _ in calls]
    assert line.take(anybody) is None
    assert len(line) == 0
    assert {id(call) for call in seen} == {id(call) for call in calls}
    for turn in {call.turn for call in calls}:
        mine = [call.number for call in seen if call.turn == turn]
        assert mine == sorted(mine)


@given(CALLS, st.data())
def test_the_length_counts_who_waits_whoever_leaves(calls: list[Call], data: st.DataObject) -> None:
    line, left = line_of(*calls), list(calls)
    while left:
        leaves = data.draw(st.sampled_from(left))
        if data.draw(st.booleans()):
            line.remove(leaves)
            line.remove(leaves)
        else:
            leaves = taken(line)
        left.remove(leaves)
        assert len(line) == len(left) == len(list(line))
        assert {id(call) for call in line} == {id(call) for call in left}


def test_priorities_that_all_wait_share_sixteen_to_four_to_one() -> None:
    line = line_of(*(a_call(priority) for priority in PRIORITIES for _ in range(100)))
    shares = Counter(taken(line).turn.priority for _ in range(63))
    assert shares == {priority: 3 * weight for priority, weight in WEIGHTS.items()}


@given(st.lists(st.sampled_from(["high", "normal"]), min_size=60, max_size=60))
def test_the_lowest_never_starves_whatever_comes(newcomers: list[Priority]) -> None:
    low = a_call("low")
    line = line_of(low)
    for place, priority in enumerate(newcomers):
        line.add(a_call(priority))
        if taken(line) is low:
            assert place < 2 * sum(WEIGHTS.values())
            return
    pytest.fail("it still waits")


def test_a_higher_priority_overtakes_at_once() -> None:
    line = line_of(*(a_call("normal") for _ in range(50)))
    for _ in range(7):
        taken(line)
    urgent = a_call("high")
    line.add(urgent)
    assert taken(line) is urgent


def test_a_caller_with_one_call_waits_not_for_one_with_hundreds() -> None:
    line = line_of(*(a_call(caller="crowd") for _ in range(500)))
    alone = a_call(caller="alone")
    line.add(alone)
    assert alone in {taken(line), taken(line)}


def test_who_does_not_fit_is_passed_over_and_keeps_its_place() -> None:
    first, second, third = a_call(), a_call(), a_call()
    line = line_of(first, second, third)
    assert line.take(lambda call: call is not first) is second
    assert taken(line) is first
    assert line.take(lambda call: call is first) is None
    assert taken(line) is third


def test_the_newest_of_the_lowest_priority_gives_way_to_a_higher_one() -> None:
    old, new, normal = a_call("low", "a"), a_call("low", "b"), a_call("normal")
    line = line_of(old, new, normal)
    assert line.displaced_by(a_call("normal")) is new
    assert line.displaced_by(a_call("high")) is new
    assert line.displaced_by(a_call("low", "a")) is None


def test_nobody_gives_way_to_a_lower_priority() -> None:
    line = line_of(a_call("normal"), a_call("high"))
    assert line.displaced_by(a_call("low")) is None


def test_who_has_most_waiting_gives_way_to_another_caller() -> None:
    crowd = [a_call(caller="crowd") for _ in range(3)]
    line = line_of(*crowd, a_call(caller="pair"))
    assert line.displaced_by(a_call(caller="alone")) is crowd[-1]
    assert line.displaced_by(a_call(caller="pair")) is crowd[-1]
    assert line.displaced_by(a_call(caller="crowd")) is None
    line.remove(crowd[0])
    assert line.displaced_by(a_call(caller="pair")) is None


@given(CALLS.filter(bool), st.builds(a_call, st.sampled_from(PRIORITIES), st.sampled_from("abcd")))
def test_whoever_gives_way_is_no_more_urgent_than_the_newcomer(
    calls: list[Call], newcomer: Call
) -> None:
    line = line_of(*calls)
    loser = line.displaced_by(newcomer)
    lowest = min(PRIORITIES.index(call.turn.priority) for call in calls)
    own = PRIORITIES.index(newcomer.turn.priority)
    if loser is None:
        assert lowest >= own
    else:
        assert PRIORITIES.index(loser.turn.priority) == lowest <= own
