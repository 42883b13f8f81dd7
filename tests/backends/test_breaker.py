"""Breakers under a clock that passes when told."""

import re
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from entroute.backends.breaker import Breaker, BreakerLimits, BreakerState, Pass, Window
from tests.scripted import FakeClock

CLOSED, HALF_OPEN, OPEN = BreakerState.CLOSED, BreakerState.HALF_OPEN, BreakerState.OPEN
LIMITS = BreakerLimits(failures=5, rate=0.5, least=10, window_s=10, open_s=5, max_open_s=20)

RNG = Random(1)  # noqa: S311 - jitter; what is asserted holds for every draw


def a_breaker(clock: FakeClock, limits: BreakerLimits = LIMITS) -> Breaker:
    return Breaker(clock, RNG, limits)


def state(breaker: Breaker) -> BreakerState:
    return breaker.state


def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        breaker.failed(breaker.begin(), "it failed")


def succeed(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        breaker.succeeded(breaker.begin())


def half_opened(clock: FakeClock, limits: BreakerLimits = LIMITS) -> Breaker:
    breaker = a_breaker(clock, limits)
    fail(breaker, limits.failures)
    clock.advance(limits.max_open_s)
    return breaker


def test_it_opens_at_failures_in_a_row_and_not_before() -> None:
    breaker = a_breaker(FakeClock())
    for _ in range(3):
        succeed(breaker, 6)
        fail(breaker, 4)
        assert state(breaker) is CLOSED
    fail(breaker)
    assert state(breaker) is OPEN
    assert not breaker.admits
    assert 0.8 * 5 <= breaker.wait_s <= 5


def test_it_opens_at_a_high_share_of_failures_among_enough_attempts() -> None:
    breaker = a_breaker(FakeClock())
    for _ in range(4):
        succeed(breaker)
        fail(breaker)
    assert state(breaker) is CLOSED  # 4 of 8 failed: too few to judge by
    succeed(breaker)
    fail(breaker)
    assert state(breaker) is OPEN


def test_failures_are_forgotten_when_they_leave_the_window() -> None:
    clock = FakeClock()
    breaker = a_breaker(clock)
    for _ in range(20):
        fail(breaker)
        succeed(breaker)
        clock.advance(2.6)  # four of each at most within ten seconds
    assert state(breaker) is CLOSED


def test_a_window_keeps_no_more_than_its_buckets() -> None:
    window = Window(10)
    for second in range(10_000):
        window.add(second / 10, bad=1)
    assert window.share(999.9)[1] == 100
    assert len(window._buckets) == 10
    assert window.share(2000)[1] == 0


def test_half_open_it_lets_one_call_through_at_a_time() -> None:
    clock = FakeClock()
    breaker = half_opened(clock)
    assert state(breaker) is HALF_OPEN
    assert breaker.admits
    trial = breaker.begin()
    assert [breaker.admits] == [False]
    breaker.failed(breaker.begin(), "nobody admitted it")
    assert state(breaker) is HALF_OPEN
    breaker.succeeded(trial)
    assert state(breaker) is CLOSED
    assert breaker.closed_at == clock.now


def test_an_abandoned_trial_leaves_its_place_to_the_next() -> None:
    breaker = half_opened(FakeClock())
    breaker.abandoned(breaker.begin())
    assert state(breaker) is HALF_OPEN
    assert breaker.admits


def test_it_stays_open_for_longer_each_time_a_trial_fails() -> None:
    clock = FakeClock()
    breaker = a_breaker(clock)
    fail(breaker, 5)
    waits = [breaker.wait_s]
    for _ in range(4):
        clock.advance(breaker.wait_s)
        fail(breaker)
        waits.append(breaker.wait_s)
    for wait, longest in zip(waits, (5, 10, 20, 20, 20), strict=True):
        assert 0.8 * longest <= wait <= longest
    assert breaker.opened == 5


@pytest.mark.parametrize(("closed_s", "longest"), [(9, 10), (11, 5)])
def test_one_that_opens_soon_after_it_closed_has_not_recovered(
    closed_s: float, longest: float
) -> None:
    clock = FakeClock()
    breaker = half_opened(clock)
    succeed(breaker)
    clock.advance(closed_s)
    fail(breaker, 5)
    assert 0.8 * longest <= breaker.wait_s <= longest


def test_many_calls_that_fail_at_once_open_it_once() -> None:
    clock = FakeClock()
    breaker = a_breaker(clock)
    calls = [breaker.begin() for _ in range(100)]
    for call in calls[:50]:
        breaker.failed(call, "it failed")
    wait = breaker.wait_s
    clock.advance(20)
    for call in calls[50:]:
        breaker.failed(call, "it failed")
    assert breaker.opened == 1
    assert 0 < wait <= 5
    assert state(breaker) is HALF_OPEN


def test_an_answer_that_began_before_it_opened_does_not_close_it() -> None:
    clock = FakeClock()
    breaker = a_breaker(clock)
    early = [breaker.begin() for _ in range(3)]
    fail(breaker, 5)
    breaker.succeeded(early[0])
    assert state(breaker) is OPEN
    clock.advance(5)
    breaker.begin()
    breaker.succeeded(early[1])
    breaker.failed(early[2], "it failed")
    assert state(breaker) is HALF_OPEN
    assert not breaker.admits


def test_an_answer_that_began_before_it_opened_does_not_end_a_later_row_of_failures() -> None:
    clock = FakeClock()
    breaker = a_breaker(clock)
    early = breaker.begin()
    fail(breaker, 5)
    clock.advance(5)
    succeed(breaker)
    fail(breaker, 4)
    breaker.succeeded(early)
    fail(breaker)
    assert state(breaker) is OPEN


def test_what_opened_it_does_not_open_it_again_once_it_closed() -> None:
    clock = FakeClock()
    breaker = a_breaker(clock, BreakerLimits(failures=100, least=10, window_s=10, open_s=1))
    succeed(breaker, 5)
    fail(breaker, 5)
    assert state(breaker) is OPEN
    clock.advance(1)
    succeed(breaker)
    fail(breaker)
    assert state(breaker) is CLOSED


def test_a_trial_that_answers_for_a_while_closes_it_before_its_end() -> None:
    clock = FakeClock()
    breaker = half_opened(clock)
    trial = breaker.begin()
    for seconds, expected in ((3, HALF_OPEN), (4, HALF_OPEN), (2, CLOSED)):
        clock.advance(seconds)
        breaker.answering(trial)
        assert state(breaker) is expected
    breaker.failed(trial, "broke off")
    assert state(breaker) is CLOSED


def test_every_change_is_said_once_in_words() -> None:
    clock, words = FakeClock(), list[str]()
    breaker = Breaker(clock, RNG, LIMITS, said=words.append)
    fail(breaker, 5)
    clock.advance(5)
    succeed(breaker)
    assert len(words) == 3
    said = r"left alone for [45]\.\d s: 5 failures in a row, at last: it failed"
    assert re.fullmatch(said, words[0])
    assert words[1:] == ["tried with one call", "called again: it answered a trial"]


class Calls(RuleBasedStateMachine):
    """Calls that begin, end and wait in any order, and what must hold all along."""

    running = Bundle("running")
    limits = BreakerLimits(failures=3, rate=0.5, least=4, window_s=10, open_s=5, max_open_s=20)

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.breaker = Breaker(self.clock, RNG, self.limits)
        self.trials: list[Pass] = []

    @rule(target=running, count=st.integers(1, 4))
    def begin(self, count: int) -> object:
        begun = list[Pass]()
        for _ in range(count):
            trying, admits = state(self.breaker) is HALF_OPEN, self.breaker.admits
            begun.append(self.breaker.begin())
            if trying and admits:
                self.trials.append(begun[-1])
        return multiple(*begun)

    @rule(call=consumes(running))
    def succeed(self, call: Pass) -> None:
        before, trial = self.breaker.state, call in self.trials
        self.breaker.succeeded(call)
        self._ended(call)
        assert state(self.breaker) is (CLOSED if trial else before)

    @rule(call=consumes(running))
    def fail(self, call: Pass) -> None:
        before, opened, trial = self.breaker.state, self.breaker.opened, call in self.trials
        self.breaker.failed(call, "")
        self._ended(call)
        if trial:
            assert self.breaker.opened == opened + 1
        if before is not CLOSED and not trial:
            assert (self.breaker.state, self.breaker.opened) == (before, opened)

    @rule(call=consumes(running))
    def abandon(self, call: Pass) -> None:
        before, opened = state(self.breaker), self.breaker.opened
        self.breaker.abandoned(call)
        self._ended(call)
        assert (self.breaker.state, self.breaker.opened) == (before, opened)

    @rule(call=running)
    def piece(self, call: Pass) -> None:
        before = self.breaker.state
        self.breaker.answering(call)
        if state(self.breaker) is not before:
            assert call in self.trials
            assert state(self.breaker) is CLOSED
            self._ended(call)

    @rule(seconds=st.floats(0, 30))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def at_most_one_trial(self) -> None:
        assert len(self.trials) <= 1

    @invariant()
    def waits_are_bounded(self) -> None:
        assert 0 <= self.breaker.wait_s <= self.limits.max_open_s

    @invariant()
    def nobody_waits_for_ever(self) -> None:
        if state(self.breaker) is OPEN:
            assert not self.breaker.admits
            assert self.breaker.wait_s > 0
        else:
            assert self.breaker.admits is not bool(self.trials)

    def _ended(self, call: Pass) -> None:
        if call in self.trials:
            self.trials.remove(call)


TestCalls = Calls.TestCase
TestCalls.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
