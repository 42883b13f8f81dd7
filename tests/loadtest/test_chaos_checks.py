"""Each check of a chaos run holds where it should, and nowhere else."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loadtest.chaos_afterwards import check_log, check_recovery, check_reloads
from loadtest.chaos_checks import check_deadlines, check_ends, check_text
from loadtest.chaos_client import Asked, read_stream
from loadtest.chaos_faults import Happened
from loadtest.chaos_schedule import Fault
from loadtest.chaos_usage import Series, check_usage
from loadtest.chaos_watch import CLIENTS, REDIS, WORKERS, Sample, check_files, check_memory
from loadtest.sent import End
from tests.loadtest.chaos_cases import (
    ERROR,
    asked,
    cut_off,
    errors_of,
    evidence,
    paused,
    sent,
    words,
)

TEXT = words("small0r1", 0, 0, 5)
PART = words("small0r1", 0, 0, 2)


def test_the_text_check_tells_which_request_is_wrong():
    good = evidence(asked(TEXT), sent())
    bad = evidence(asked(f"{PART} {PART}"), sent())
    assert check_text(good, good.readings()).holds
    check = check_text(bad, bad.readings())
    assert not check.holds
    assert check.against[0].startswith("chaos-1: ")


@pytest.mark.parametrize(
    ("one", "holds"),
    [
        (asked(TEXT), True),
        (asked(TEXT, stream=False), True),
        (cut_off(PART), True),
        (asked(PART, done=False, finish_reason=None, left=True), True),
        (asked(TEXT, done=False), False),
        (asked(TEXT, finish_reason=None), False),
        (asked(PART, done=False, finish_reason=None), False),
        (asked(TEXT, error=ERROR), False),
        (cut_off(PART, done=True), False),
        (asked(PART, done=False, finish_reason=None, broken="reset"), False),
        (asked(TEXT, odd=["text after the finish reason"]), False),
    ],
)
def test_a_stream_ends_in_order_or_with_an_error(one: Asked, holds: bool):  # noqa: FBT001
    assert check_ends(evidence(one)).holds is holds


def _read(*events: str) -> Asked:
    one = asked("", done=False, finish_reason=None)
    read_stream(one, "".join(f"{event}\n\n" for event in events).encode())
    return one


def _chunk(content: str, finish: str | None = None, name: str = "a") -> str:
    choice = {"delta": {"content": content}, "finish_reason": finish}
    return f"data: {json.dumps({'id': name, 'choices': [choice]})}"


def test_a_stream_is_read_with_all_that_is_odd():
    good = _read(": keep-alive", _chunk("x"), _chunk(" y"), _chunk("", "stop"), "data: [DONE]")
    assert (good.text, good.whole, good.odd) == ("x y", True, [])
    assert _read(_chunk("x"), 'data: {"error": {"code": "c"}}').code == "c"
    odd = [
        _read(_chunk("x"), _chunk("y", name="b")),
        _read(_chunk("x", "stop"), _chunk("y")),
        _read(_chunk("x", "stop"), "data: [DONE]", "data: [DONE]"),
        _read('data: {"error": {}}', _chunk("x")),
        _read("data: {"),
    ]
    assert [len(one.odd) for one in odd] == [1, 1, 1, 1, 1]


@pytest.mark.parametrize("end", ["killed", "reset", "close", "malformed", "truncated"])
def test_the_error_of_a_stream_whose_worker_broke_it_is_excused(end: End):
    assert errors_of(evidence(cut_off(PART), sent(end=end))).holds


@pytest.mark.parametrize(
    ("one", "facts"),
    [
        (cut_off(PART), {}),  # its worker sent it all
        (cut_off(PART), {"end": "left"}),  # the gateway hung up, and nothing was wrong
        (cut_off("", status=502), {"end": "killed"}),  # nothing was delivered: ask another worker
        (cut_off(PART, stream=False, status=502), {"end": "killed"}),
        (cut_off("", status=429), {"end": "killed"}),
        (asked(PART, broken="ServerDisconnectedError"), {"end": "killed"}),
        (asked(PART, done=False), {"end": "killed"}),
    ],
)
def test_other_errors_are_not(one: Asked, facts: dict[str, Any]):
    check = errors_of(evidence(one, sent(**facts)))
    assert not check.holds
    assert "chaos-1 at 100.0" in check.against[0]


@pytest.mark.parametrize("failure", ["stall", "trickle"])
def test_a_stream_that_was_held_up_is_excused(failure: str):
    assert errors_of(evidence(cut_off(PART), sent(end="left", failure=failure))).holds


def test_a_pause_excuses_only_its_worker_and_its_time():
    one, made = cut_off(PART), sent(end="left")
    assert errors_of(evidence(one, made, happened=(paused("small0", 104, 108),))).holds
    for other in (paused("small1", 104, 108), paused("small0", 120, 130), paused("small0", 1, 90)):
        assert not errors_of(evidence(one, made, happened=(other,))).holds


def test_a_worker_that_caught_up_after_its_pause_had_lost_its_stream_all_the_same():
    one, made = cut_off(PART), sent(end="finished")
    assert errors_of(evidence(one, made, happened=(paused("small0", 104, 108),))).holds
    assert not errors_of(evidence(one, made)).holds


def test_a_clients_own_deadline_is_no_error_once_it_has_passed():
    late = {"code": "deadline_exceeded"}
    hurried = replace(asked("").wish, deadline_s=2.0, own_deadline=True)
    assert errors_of(evidence(cut_off("", error=late, wish=hurried, took_s=2.1))).holds
    assert not errors_of(evidence(cut_off("", error=late, wish=hurried, took_s=0.5))).holds
    assert not errors_of(evidence(cut_off("", wish=hurried, took_s=2.1))).holds
    assert not errors_of(evidence(cut_off("", error=late, took_s=61))).holds


def test_a_request_that_outlives_its_deadline_is_found():
    assert check_deadlines(evidence(asked(TEXT, took_s=61.5)), 2).holds
    assert not check_deadlines(evidence(asked(TEXT, took_s=62.5)), 2).holds


def _samples(*megabytes: float) -> list[Sample]:
    return [Sample(place + 0.5, value, 10, 1) for place, value in enumerate(megabytes)]


def test_memory_may_grow_by_a_tenth_from_the_third_tenth_to_the_last():
    start = [10.0, 50.0, 100.0, *[105.0] * 6]
    assert check_memory(_samples(*start, 110.0), 10).holds
    assert not check_memory(_samples(*start, 110.2), 10).holds
    assert not check_memory([], 10).holds


def test_files_sockets_and_work_must_be_back():
    before = Counter({"files": 10, WORKERS: 5, REDIS: 2})
    quiet = {"requests_in_flight": 0.0}
    assert check_files(before, before + Counter({REDIS: 20}), quiet).holds
    assert not check_files(before, before, {"worker_inflight": 1.0}).holds
    assert not check_files(before, before + Counter({CLIENTS: 1}), quiet).holds
    assert not check_files(before, before + Counter({WORKERS: 5}), quiet).holds
    assert not check_files(before, before + Counter({"files": 5}), quiet).holds
    assert not check_files(before, before + Counter({REDIS: 200}), quiet).holds


@pytest.mark.parametrize(
    ("counted", "made", "told", "holds"),
    [(5, 5, 5, True), (5, 9, 5, True), (4, 5, 5, False), (6, 5, 5, False), (5, 5, 4, False)],
)
def test_usage_told_counted_and_made_must_agree(counted: int, made: int, told: int, holds: bool):  # noqa: FBT001
    usage = {"completion_tokens": told, "entroute": {"completion_tokens": told}}
    found = evidence(asked(TEXT, usage=usage), sent(made=made))
    after = [("tokens_total", {"kind": "completion"}, float(counted))]
    assert check_usage(found, found.readings(), [], after).holds is holds


def test_an_answer_without_usage_is_found():
    found = evidence(asked(TEXT, usage=None), sent())
    assert not check_usage(found, found.readings(), [], []).holds


def test_recovery_means_every_worker_up_every_breaker_closed_every_request_answered():
    up: Series = [("worker_up", {}, 1.0), ("worker_breaker_state", {}, 0.0)]
    assert check_recovery([asked(TEXT)], up).holds
    assert not check_recovery([cut_off(PART)], up).holds
    assert not check_recovery([], up).holds
    assert not check_recovery([asked(TEXT)], [*up, ("worker_up", {}, 0.0)]).holds
    assert not check_recovery([asked(TEXT)], [*up, ("worker_breaker_state", {}, 2.0)]).holds


def _reloads(applied: int, refused: int) -> Series:
    told = {"applied": applied, "refused": refused}
    return [("reloads_total", {"result": result}, float(n)) for result, n in told.items()]


@pytest.mark.parametrize(
    ("applied", "refused", "holds"),
    [(3, 2, True), (2, 2, True), (1, 2, False), (4, 2, False), (2, 1, False), (2, 3, False)],
)
def test_good_configurations_must_take_over_and_bad_ones_not(
    applied: int,
    refused: int,
    holds: bool,  # noqa: FBT001
):
    good, bad = (
        Happened(Fault(0, 1, kind, "gateway"), 100, 101)
        for kind in ("reload", "reload of a bad file")
    )
    check = check_reloads([good, good, bad], _reloads(1, 1), _reloads(applied, refused))
    assert check.holds is holds


def test_a_traceback_in_the_log_is_found(tmp_path: Path):
    log = tmp_path / "gateway.log"
    log.write_text("all is well\n", encoding="utf-8")
    assert check_log(log).holds
    log.write_text("Task exception was never retrieved\n", encoding="utf-8")
    assert not check_log(log).holds
