import asyncio
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from entroute.evidence import Verdict
from entroute.strategies.judging import OneByOne
from entroute.verifiers.exact import Exact
from entroute.verifiers.symbolic import MAX_LOST, MAX_QUEUED, SymbolicEquality, as_one_caller
from tests.builders import a_completion, a_request

TOWER = "9^{9^{9^{9}}}"


@pytest.fixture
async def algebra():
    others = set(multiprocessing.active_children())  # of gateways that other tests share
    equality = SymbolicEquality(timeout_s=3.0, wait_s=60.0)
    equality.start()
    yield equality
    await equality.close()
    assert set(multiprocessing.active_children()) <= others


async def test_equal_and_unequal_formulas_are_told_apart_in_either_order(algebra):
    pairs = [
        ("\\frac{1}{2}", "0.5", True),
        ("x^2+2x+1", "(x+1)^2", True),
        ("2\\sqrt{2}", "\\sqrt{8}", True),
        ("(5,\\infty)", "x>5", True),
        ("\\pi", "3.14", False),
        ("(1,2)", "(2,1)", False),
        ("\\text{East}", "east", True),
        ("east", "west", False),
        ("east", "seat", None),
        ("ab", "ba", True),
        ("c \\cdot b", "bc", True),
        ("18\\text{ cm}", "18", True),
        ("a b c", "a d e", None),
    ]
    for a, b, equal in pairs:
        assert await algebra.same(a, b) is equal, (a, b)
        assert await algebra.same(b, a) is equal, (b, a)
    assert (algebra.timeouts, algebra.crashes) == (0, 0)


async def test_abstains_on_what_is_empty_long_or_not_maths(algebra):
    assert await algebra.same("", "5") is None
    assert await algebra.same("x" * 201, "x" * 201) is None
    assert await algebra.same("\\frac{", "5") is None
    assert await algebra.same("\0\ud800", "5") is None
    assert (algebra.timeouts, algebra.crashes) == (0, 0)


async def test_a_power_tower_times_out_without_blocking_and_the_next_comparison_works(algebra):
    assert await algebra.same("1", "1.0") is True
    started, ticks = time.monotonic(), 0
    hostile = asyncio.create_task(algebra.same(TOWER, "2"))
    while not hostile.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert await hostile is None
    assert 2.9 < time.monotonic() - started < 15
    assert ticks > 20
    assert (algebra.timeouts, algebra.crashes) == (1, 0)
    assert await algebra.same("2x", "x+x") is True


async def test_a_pair_is_compared_once_whichever_comes_first(algebra):
    assert await algebra.same("2x", "x+x") is True
    assert await algebra.same(TOWER, "2") is None
    started = time.monotonic()
    assert await algebra.same("2", TOWER) is None
    assert await algebra.same("x+x", "2x") is True
    assert time.monotonic() - started < 0.9
    assert algebra.timeouts == 1


async def test_a_killed_child_is_an_abstention_and_is_replaced(algebra):
    assert await algebra.same("1", "1.0") is True
    hostile = asyncio.create_task(algebra.same(TOWER, "2"))
    await asyncio.sleep(0.4)
    kill_children()
    assert await hostile is None
    assert algebra.crashes == 1
    assert await algebra.same("2x", "x+x") is True


async def test_a_child_killed_while_idle_is_replaced(algebra):
    assert await algebra.same("1", "1.0") is True
    kill_children()
    await asyncio.sleep(0.5)
    assert await algebra.same("2x", "x+x") is True


async def test_a_cancelled_caller_frees_the_child(algebra):
    assert await algebra.same("1", "1.0") is True
    waiting = [asyncio.create_task(algebra.same(TOWER, "2")) for _ in range(3)]
    await asyncio.sleep(0.2)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert all(task.cancelled() for task in waiting)
    assert await algebra.same("2x", "x+x") is True


async def test_callers_in_a_queue_wait_no_longer_than_their_limits():
    equality = SymbolicEquality(timeout_s=1.0, wait_s=0.3)
    equality.start()
    started = time.monotonic()
    assert await asyncio.gather(*(equality.same(TOWER, "2") for _ in range(4))) == [None] * 4
    assert time.monotonic() - started < 10
    assert equality.timeouts == 4
    await equality.close()
    await equality.close()
    assert await equality.same("1", "1") is None


def towers(count: int) -> list[str]:
    return [f"9^{{9^{{9^{{9^{{{top}}}}}}}}}" for top in range(2, 2 + count)]


async def test_a_caller_whose_comparisons_are_lost_gets_no_more_but_others_do(algebra):
    hostile = towers(MAX_LOST + 20)
    started = time.monotonic()
    assert [await algebra.same(tower, "x+1") for tower in hostile] == [None] * len(hostile)
    assert time.monotonic() - started < 60
    assert (algebra.timeouts + algebra.crashes, algebra.refused) == (MAX_LOST, 20)
    assert [algebra.gave_up(tower, "x+1") for tower in hostile] == [False] * MAX_LOST + [True] * 20
    assert await asyncio.create_task(algebra.same("2x", "x+x")) is True


async def test_many_formulas_of_one_caller_wait_their_turn(algebra):
    samples = [
        a_completion(rf"\boxed{{x+3+{i}x-{i - 1}x}}", call_id=i) for i in range(2, MAX_QUEUED + 10)
    ]
    with as_one_caller():
        verdicts = await OneByOne(Exact("2x+3", algebra)).score(a_request(), samples)
    assert {(verdict.score, verdict.abstained) for verdict in verdicts} == {(1.0, False)}
    assert algebra.refused == 0


async def test_a_caller_loses_no_more_by_beginning_tasks_and_others_get_theirs(algebra):
    samples = [a_completion(rf"\boxed{{{tower}}}", call_id=i) for i, tower in enumerate(towers(20))]

    async def request() -> tuple[Verdict, ...]:
        judge = OneByOne(Exact("x+1", algebra))
        with as_one_caller():
            await asyncio.gather(*(judge.score(a_request(), samples[i:]) for i in (0, 5)))
        return judge.so_far(samples)

    hostile = asyncio.create_task(request())
    await asyncio.sleep(0.1)
    assert await algebra.same("2x", "x+x") is True
    assert not hostile.done()
    verdicts = await hostile
    assert algebra.timeouts + algebra.crashes == MAX_LOST
    assert [v.abstained for v in verdicts] == [True] * len(samples)
    assert sum(v.failed for v in verdicts) == len(samples) - MAX_LOST


async def test_a_pair_that_tasks_of_one_caller_ask_for_at_once_is_compared_once(algebra):
    with as_one_caller():
        asking = [asyncio.create_task(algebra.same(TOWER, "2")) for _ in range(MAX_LOST + 1)]
    assert await asyncio.gather(*asking) == [None] * len(asking)
    assert (algebra.timeouts + algebra.crashes, algebra.refused) == (1, 0)


async def test_the_queue_has_an_end_beyond_which_it_abstains_at_once_and_says_so(algebra):
    waiting = [asyncio.create_task(algebra.same(tower, "x+1")) for tower in towers(MAX_QUEUED)]
    await asyncio.sleep(0.1)
    verdicts = await Exact("x+x", algebra).score(
        a_request(), [a_completion(r"\boxed{2x}"), a_completion("no formula at all")]
    )
    assert algebra.refused == 1
    assert [(v.abstained, v.failed) for v in verdicts] == [(True, True), (False, False)]
    assert verdicts[0].reason == "nobody was free to compare"
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    (verdict,) = await Exact("x+x", algebra).score(a_request(), [a_completion(r"\boxed{2x}")])
    assert (verdict.score, verdict.abstained, verdict.failed) == (1.0, False, False)


async def test_what_cannot_be_decided_is_no_failure(algebra):
    (verdict,) = await Exact("x+x", algebra).score(
        a_request(), [a_completion(rf"\boxed{{{TOWER}}}")]
    )
    assert (verdict.abstained, verdict.failed) == (True, False)
    assert verdict.reason == "equality cannot be decided"


async def test_waiting_for_a_child_in_vain_is_giving_up():
    equality = SymbolicEquality(timeout_s=1.0, wait_s=0.2)
    equality.start()
    hostile = asyncio.create_task(equality.same(TOWER, "2"))
    others = [asyncio.create_task(equality.same(tower, "3")) for tower in towers(3)]
    await asyncio.wait([hostile, *others])
    assert equality.gave_up(towers(3)[-1], "3")
    assert not equality.gave_up("", "3")
    await equality.close()
    assert not equality.gave_up(towers(3)[-1], "3")


def test_any_text_gets_an_answer_that_ignores_order():
    mathematical = st.lists(
        st.sampled_from(
            ["\\frac", "{", "}", "x", "1", "2", "+", "^", "(", ")", "\\sqrt", "=", ","]
        ),
        max_size=10,
    ).map("".join)

    async def both(pairs: list[tuple[str, str]]) -> list[tuple[bool | None, bool | None]]:
        equality = SymbolicEquality(timeout_s=1.0, wait_s=30.0)
        equality.start()
        try:
            return [(await equality.same(a, b), await equality.same(b, a)) for a, b in pairs]
        finally:
            await equality.close()

    @settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(mathematical, mathematical), min_size=10, max_size=20))
    def check(pairs):
        for one, other in asyncio.run(both(pairs)):
            assert one in (True, False, None)
            assert one is other or None in (one, other)

    check()


def test_without_the_library_it_abstains():
    script = (
        "import asyncio, sys\n"
        "sys.modules['math_verify'] = None\n"
        "from entroute.verifiers.symbolic import SymbolicEquality\n"
        "equality = SymbolicEquality()\nequality.start()\n"
        "print(equality.available, asyncio.run(equality.same('1', '1')))\n"
        "asyncio.run(equality.close())\n"
    )
    assert run(script) == ("False None\n", "")


def test_a_process_that_forgets_to_close_exits_cleanly():
    script = (
        "import asyncio\n"
        "from entroute.verifiers.symbolic import SymbolicEquality\n"
        "equality = SymbolicEquality(wait_s=30)\nequality.start()\n"
        "print(asyncio.run(equality.same('2x', 'x+x')))\n"
    )
    assert run(script) == ("True\n", "")


def kill_children() -> None:
    for child in multiprocessing.active_children():
        child.kill()


def run(script: str) -> tuple[str, str]:
    source = Path(__file__).parents[2] / "service"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout, done.stderr


@pytest.mark.parametrize("limits", [{"timeout_s": 0.0}, {"wait_s": -1.0}, {"workers": 0}], ids=str)
def test_impossible_limits_are_refused(limits):
    with pytest.raises(ValueError, match="timeout_s"):
        SymbolicEquality(**limits)


async def test_it_starts_no_child_and_abstains_until_it_is_started():
    others = set(multiprocessing.active_children())
    equality = SymbolicEquality()
    assert await equality.same("2x", "x+x") is None
    assert set(multiprocessing.active_children()) <= others
