"""A short chaos run on real processes: everything that must hold, holds."""

from collections import Counter

import pytest

from loadtest.chaos import FLEET
from loadtest.chaos_load import SAMPLE, Shape, planned, read_trace
from loadtest.chaos_report import as_json, markdown
from loadtest.chaos_run import Plan, run
from loadtest.chaos_schedule import ALL_FAULTS, Period, schedule

SHAPE = Shape(12.0, 20, pace=15.0, ttft_s=0.1, longest=60, deadline_s=50.0, patience_s=10.0)
KINDS = (
    "killed",
    "paused",
    "reset",
    "truncated",
    "malformed",
    "status 500",
    "redis killed",
    "reload",
    "reload of a bad file",
)
# A machine five times slower may be late by more than the two seconds of a long run.
GRACE_S = 10.0


@pytest.mark.timeout(240)
async def test_answers_stay_right_while_parts_die():
    faults = schedule(FLEET, KINDS, Period(0.5, 11.5, 0.8, 0.7, 2), seed=7)
    found = await run(Plan(7, SHAPE, planned(read_trace(SAMPLE), SHAPE, 7), faults, GRACE_S))
    report = markdown(found)
    assert found.hold, report
    happened = Counter(one.fault.kind for one in found.evidence.happened)
    assert happened == Counter(fault.kind for fault in faults)
    assert set(happened) <= set(ALL_FAULTS)
    assert len(happened) >= 6
    assert len(found.evidence.asked) > 60
    assert report.count("| yes |") == len(found.checks) == as_json(found)["holds"] * 10
