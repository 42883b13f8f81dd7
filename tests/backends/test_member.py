"""One worker of a pool: when it may be called, and what share of the calls it takes."""

import logging
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest
import pytest_asyncio

from entroute.backends.breaker import BreakerLimits, BreakerState
from entroute.backends.http_worker import Timeouts
from entroute.backends.member import Care, Member
from entroute.backends.outliers import OutlierLimits
from entroute.backends.slow_start import weight
from entroute.backends.worker import Worker
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

URL = "http://127.0.0.1:1/v1"
CARE = Care(BreakerLimits(failures=3, open_s=5), OutlierLimits(), slow_start_s=30)
MemberAt = Callable[[FakeClock], Member[Worker]]

NOT_ITS_FAULT = [
    WorkerRejected(URL, "no", status=400, param=None, code=None),
    WorkerBusy(URL, "answered 429", retry_after_s=0),
    DeadlineExceeded("too short"),
]
ITS_FAULT = [
    WorkerUnavailable(URL, "reset"),
    WorkerFailed(URL, "answered 500"),
    WorkerTimeout(URL, "connect", 2),
    WorkerProtocolError(URL, "cut off"),
]


@pytest_asyncio.fixture
async def member_at() -> AsyncIterator[MemberAt]:
    async with aiohttp.ClientSession() as session:

        def made(clock: FakeClock) -> Member[Worker]:
            worker = Worker(
                URL, model="m", tier="t", session=session, clock=clock, timeouts=Timeouts()
            )
            return Member(worker, CARE)

        yield made


def may_call(member: Member[Worker]) -> bool:
    return member.callable


def fail(member: Member[Worker], error: Exception, times: int = 1) -> None:
    for _ in range(times):
        member.failed(member.begun(), error)


@pytest.mark.parametrize("error", ITS_FAULT, ids=lambda error: type(error).__name__)
async def test_its_own_failures_open_the_breaker_and_leave_it_healthy(
    member_at: MemberAt, error: Exception
) -> None:
    member = member_at(FakeClock())
    fail(member, error, 3)
    assert member.healthy
    assert not may_call(member)
    assert member.why == "worker 127.0.0.1:1 keeps failing"
    assert 4 <= (member.wait_s or 0) <= 5


@pytest.mark.parametrize("error", NOT_ITS_FAULT, ids=lambda error: type(error).__name__)
async def test_what_is_not_its_fault_opens_nothing(member_at: MemberAt, error: Exception) -> None:
    member = member_at(FakeClock())
    fail(member, error, 50)
    assert may_call(member)
    assert member.breaker.opened == 0
    assert member.take_record().ended == 0


async def test_cancelled_attempts_open_nothing(member_at: MemberAt) -> None:
    member = member_at(FakeClock())
    for _ in range(50):
        member.abandoned(member.begun())
    assert may_call(member)


@pytest.mark.parametrize(
    ("error", "healthy"),
    [
        (WorkerUnavailable(URL, "refused", refused=True), False),
        (WorkerUnavailable(URL, "reset"), True),
        (WorkerMisconfigured(URL, "answered 401"), False),
        (WorkerTimeout(URL, "connect", 2), True),
    ],
)
async def test_only_who_is_not_there_or_set_up_wrong_waits_for_a_sweep(
    member_at: MemberAt,
    error: Exception,
    healthy: bool,  # noqa: FBT001
    caplog: pytest.LogCaptureFixture,
) -> None:
    member = member_at(FakeClock())
    fail(member, error, 2)
    assert member.healthy is member.callable is healthy
    assert len(caplog.records) == (not healthy)


async def test_a_sweep_neither_closes_a_breaker_nor_is_a_trial(member_at: MemberAt) -> None:
    clock = FakeClock()
    member = member_at(clock)
    fail(member, ITS_FAULT[1], 3)
    member.found("", again_s=5)
    assert not may_call(member)
    clock.advance(5)
    member.found("", again_s=5)
    assert member.breaker.state is BreakerState.HALF_OPEN
    assert may_call(member)


async def test_half_open_the_place_of_whoever_is_about_to_begin_is_the_trials(
    member_at: MemberAt,
) -> None:
    clock = FakeClock()
    member = member_at(clock)
    fail(member, ITS_FAULT[1], 3)
    clock.advance(5)
    member.places += 1
    assert not may_call(member)
    member.places -= 1  # it left before it began
    assert may_call(member)
    member.places += 1
    trial = member.begun()
    assert not may_call(member)
    member.failed(trial, NOT_ITS_FAULT[0])
    member.places -= 1
    assert member.breaker.state is BreakerState.HALF_OPEN
    assert may_call(member)


@pytest.mark.parametrize(("asked_s", "rest_s"), [(7, 7), (3600, 30)])
async def test_a_busy_worker_rests_for_as_long_as_it_asked_within_bounds(
    member_at: MemberAt, asked_s: float, rest_s: float
) -> None:
    clock = FakeClock()
    member = member_at(clock)
    fail(member, WorkerBusy(URL, "answered 429", retry_after_s=asked_s))
    for seconds, resting in ((0, True), (rest_s - 0.1, True), (0.1, False)):
        clock.advance(seconds)
        assert member.resting is resting
    assert may_call(member)


async def test_it_says_when_the_next_sweep_comes(member_at: MemberAt) -> None:
    clock = FakeClock()
    member = member_at(clock)
    fail(member, WorkerUnavailable(URL, "refused", refused=True))
    waits = [member.wait_s]
    member.found("refused", again_s=5)
    for seconds in (2, 9):
        clock.advance(seconds)
        waits.append(member.wait_s)
    assert waits == [None, 3, 0]  # before any sweep nobody knows


async def test_a_member_that_was_never_away_takes_its_whole_share(member_at: MemberAt) -> None:
    member = member_at(FakeClock())
    member.found("", again_s=5)
    assert member.weight == 1


async def test_its_share_rises_after_it_recovered_closed_or_joined(member_at: MemberAt) -> None:
    clock = FakeClock()
    recovered, closed, joined = (member_at(clock) for _ in range(3))
    recovered.found("dead", again_s=5)
    fail(closed, ITS_FAULT[0], 3)
    clock.advance(5)
    recovered.found("", again_s=5)
    assert closed.weight == 1  # or its trial would wait for a busy hour
    closed.succeeded(closed.begun())
    joined.joined()
    for member in (recovered, closed, joined):
        assert member.weight == pytest.approx(0.1)
        assert member.warming
    clock.advance(15)
    recovered.found("", again_s=5)  # still healthy: no recovery
    for member in (recovered, closed, joined):
        assert member.weight == pytest.approx(0.55)
    clock.advance(15)
    for member in (recovered, closed, joined):
        assert member.weight == 1
        assert not member.warming


async def test_ejections_in_a_row_grow_longer_and_end_in_a_slow_start(
    member_at: MemberAt, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock()
    member = member_at(clock)
    limits = OutlierLimits(base_ejection_s=30, max_ejection_s=70)
    for length in (30, 60, 70):
        member.eject("too slow", limits)
        assert member.admits
        assert not may_call(member)
        clock.advance(length - 0.1)
        assert member.ejected
        clock.advance(0.1)
        assert may_call(member)
        assert member.weight == pytest.approx(0.1)
    for _ in range(9):
        member.pardon()
    member.eject("too slow", limits)
    clock.advance(30)
    assert may_call(member)
    said = caplog.records[0].getMessage()
    assert said == f"worker {URL} of tier t: ejected for 30 s: too slow"


async def test_other_limits_leave_what_is_known(member_at: MemberAt) -> None:
    clock = FakeClock()
    member = member_at(clock)
    fail(member, ITS_FAULT[0], 2)
    member.care(Care(BreakerLimits(failures=4), slow_start_s=0))
    fail(member, ITS_FAULT[0])
    assert may_call(member)
    fail(member, ITS_FAULT[0])
    assert not may_call(member)
    member.joined()
    assert member.weight == 1


async def test_a_record_holds_the_time_to_a_streams_first_piece_or_the_whole(
    member_at: MemberAt,
) -> None:
    clock = FakeClock()
    member = member_at(clock)
    stream, whole = member.begun((True, 3)), member.begun((False, 3))
    clock.advance(1)
    member.answering(stream, whole=False)
    clock.advance(1)
    member.answering(stream, whole=True)
    member.succeeded(stream)
    member.succeeded(whole)
    fail(member, ITS_FAULT[0])
    record = member.take_record()
    assert record.times_s == {(True, 3): [1], (False, 3): [2]}
    assert (record.good, record.bad) == (2, 1)
    assert member.take_record().ended == 0


async def test_transitions_are_logged_with_the_worker_and_why(
    member_at: MemberAt, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="entroute")
    clock = FakeClock()
    member = member_at(clock)
    fail(member, ITS_FAULT[1], 3)
    clock.advance(5)
    member.succeeded(member.begun())
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 3
    assert all(line.startswith(f"worker {URL} of tier t: ") for line in said)
    assert "3 failures in a row, at last: worker http://127.0.0.1:1/v1: answered 500" in said[0]


@pytest.mark.parametrize(
    ("since_s", "slow_start_s", "share"),
    [
        (0, 30, 0.1),
        (10, 30, 0.4),
        (30, 30, 1),
        (99, 30, 1),
        (0, 0, 1),
        (-5, 30, 0.1),
    ],
)
def test_a_share_rises_linearly_from_a_tenth(
    since_s: float, slow_start_s: float, share: float
) -> None:
    assert weight(since_s, slow_start_s) == pytest.approx(share)
