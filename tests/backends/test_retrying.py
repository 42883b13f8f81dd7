"""When failed calls are tried again: pauses, the tier's budget, and what is never retried."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.backends.retrying import Failed, Retries, RetryBudget, Retrying
from entroute.errors import (
    DeadlineExceeded,
    WorkerBusy,
    WorkerFailed,
    WorkerMisconfigured,
    WorkerProtocolError,
    WorkerRejected,
    WorkerTimeout,
    WorkerUnavailable,
)
from tests.scripted import FakeClock

REFUSED = WorkerUnavailable("w", "refused", refused=True)
RESET = WorkerUnavailable("w", "reset")
FAILED = WorkerFailed("w", "answered 500")
SLOW = WorkerTimeout("w", "first_token", 1.0)
REJECTED = WorkerRejected("w", "no", status=400, param=None, code=None)


def busy(retry_after_s: float) -> WorkerBusy:
    return WorkerBusy("w", "answered 429", retry_after_s=retry_after_s)


def a_failure(error: Exception = FAILED, attempts: int = 1, **facts: object) -> Failed:
    known = {"elsewhere": True, "again": False, "deadline": 1e12, **facts}
    return Failed(error, attempts, **known)  # type: ignore[arg-type]


def retrying(clock: FakeClock | None = None, **limits: float) -> Retrying:
    return Retrying(Retries(**limits), clock or FakeClock(), Random(7))  # type: ignore[arg-type]  # noqa: S311


@given(st.integers(0, 12), st.floats(0, 1), st.floats(1, 5), st.integers())
def test_a_pause_is_drawn_below_a_bound_that_doubles_up_to_a_limit(
    retry: int, base_s: float, max_s: float, seed: int
) -> None:
    pause = Retries(base_s=base_s, max_s=max_s).pause(retry, Random(seed))  # noqa: S311
    assert 0 <= pause <= min(max_s, base_s * 2**retry)


def test_pauses_fill_their_whole_range_so_that_calls_that_failed_together_part() -> None:
    rng, retries = Random(1), Retries(base_s=0.1, max_s=1.0)  # noqa: S311
    pauses = [retries.pause(1, rng) for _ in range(500)]
    assert min(pauses) < 0.02
    assert max(pauses) > 0.18
    assert sum(pauses) / 500 == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("error", [REFUSED, RESET, WorkerMisconfigured("w", "answered 401")])
def test_another_worker_is_asked_at_once_where_the_first_did_nothing(error: Exception) -> None:
    assert retrying(base_s=5, max_s=9).pause(a_failure(error)) == 0
    again = retrying(base_s=5, max_s=9).pause(a_failure(error, attempts=2))
    assert again is not None
    assert again > 0


@pytest.mark.parametrize("error", [FAILED, SLOW, WorkerProtocolError("w", "no JSON"), busy(60)])
def test_another_worker_is_asked_after_a_pause_where_the_first_failed(error: Exception) -> None:
    pause = retrying().pause(a_failure(error))
    assert pause is not None
    assert 0 < pause <= 0.025


@pytest.mark.parametrize("error", [REJECTED, DeadlineExceeded("late")])
def test_what_another_worker_would_do_as_well_stands(error: Exception) -> None:
    assert retrying().pause(a_failure(error)) is None
    assert retrying().pause(a_failure(error, elsewhere=False, again=True)) is None


def test_attempts_are_limited() -> None:
    assert retrying(attempts=3).pause(a_failure(attempts=2)) is not None
    assert retrying(attempts=3).pause(a_failure(attempts=3)) is None
    assert retrying(attempts=1).pause(a_failure(REFUSED)) is None


@pytest.mark.parametrize("error", [FAILED, SLOW, WorkerMisconfigured("w", "answered 401")])
def test_a_worker_that_failed_is_not_asked_again(error: Exception) -> None:
    assert retrying().pause(a_failure(error, elsewhere=False, again=True)) is None


@pytest.mark.parametrize("error", [RESET, WorkerFailed("w", "broke off", broke_off=True)])
def test_a_lone_worker_whose_connection_broke_is_asked_once_more(error: Exception) -> None:
    pause = retrying().pause(a_failure(error, elsewhere=False, again=True))
    assert pause is not None
    assert 0 < pause <= 0.025
    assert retrying().pause(a_failure(error, elsewhere=False, again=False)) is None


def test_a_lone_busy_worker_gets_the_time_it_asked_for_if_that_is_short() -> None:
    pause = retrying().pause(a_failure(busy(0.5), elsewhere=False, again=True))
    assert pause is not None
    assert 0.5 <= pause <= 0.525
    assert retrying().pause(a_failure(busy(1.5), elsewhere=False, again=True)) is None


def test_no_retry_begins_after_the_deadline() -> None:
    clock = FakeClock(100.0)
    lone = {"elsewhere": False, "again": True}
    assert retrying(clock).pause(a_failure(busy(1.0), deadline=100.9, **lone)) is None
    assert retrying(clock).pause(a_failure(busy(1.0), deadline=101.1, **lone)) is not None
    assert retrying(clock).pause(a_failure(REFUSED, deadline=100.0)) is None


def test_an_empty_budget_lets_the_error_stand_and_is_counted() -> None:
    spent = retrying(min_per_s=0.1)
    assert spent.pause(a_failure()) is not None
    assert spent.pause(a_failure()) is None
    assert spent.results == {"budget": 1}


def test_a_refused_retry_costs_nothing_where_it_would_not_have_been_made() -> None:
    spent = retrying(min_per_s=0.1)
    for _ in range(5):
        assert spent.pause(a_failure(REJECTED)) is None
        assert spent.pause(a_failure(attempts=3)) is None
    assert spent.results == {}
    assert spent.budget.left == 1


def test_every_fifth_call_earns_a_retry() -> None:
    budget = RetryBudget(Retries(budget=0.2, min_per_s=0), FakeClock())
    for _ in range(4):
        budget.put()
    assert not budget.take()
    budget.put()
    assert budget.take()
    assert not budget.take()


def test_calls_and_retries_are_forgotten_after_ten_seconds() -> None:
    clock = FakeClock(0.0)
    budget = RetryBudget(Retries(budget=1.0, min_per_s=0.2), clock)
    budget.put()
    assert [budget.take() for _ in range(4)] == [True, True, True, False]
    clock.advance(9.9)
    assert not budget.take()
    clock.advance(0.1)
    assert [budget.take() for _ in range(3)] == [True, True, False]


STEPS = st.lists(st.tuples(st.booleans(), st.floats(0, 3)), max_size=200)


@given(STEPS, st.floats(0, 1), st.floats(0, 5))
def test_retries_never_exceed_what_the_calls_of_the_last_ten_seconds_allow(
    steps: list[tuple[bool, float]], share: float, rate: float
) -> None:
    clock = FakeClock(0.0)
    budget = RetryBudget(Retries(budget=share, min_per_s=rate), clock)
    calls: list[float] = []
    retries: list[float] = []
    for is_call, pause in steps:
        clock.advance(pause)
        if is_call:
            budget.put()
            calls.append(clock())
        elif budget.take():
            retries.append(clock())
            made, called = (
                sum(int(at) > clock() - 10 for at in times) for times in (retries, calls)
            )
            assert made <= share * called + 10 * rate + 1e-6


def test_a_reload_goes_on_counting() -> None:
    before, after = retrying(), retrying()
    before.ended("ok", 1)
    before.hedges["won"] += 1
    after.go_on_from(before)
    after.ended("ok", 2)
    after.ended("ok", 0)  # a call that had not failed is no retry
    assert after.results == {"ok": 2}
    assert after.hedges == {"won": 1}
