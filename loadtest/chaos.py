"""Answers while parts die: `python -m loadtest.chaos --help`.

A gateway stands in front of a fleet of fake workers (three small, two large) and a real Redis, and
is asked by the shape of a trace in every way a client can ask. Meanwhile workers are killed,
paused and told to fail, Redis is killed and paused, and the configuration is reloaded. Every answer
is held against what its workers sent. Prints Markdown; exits 1 if a check does not hold.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtest.chaos_load import SAMPLE, Shape, planned, read_trace
from loadtest.chaos_report import as_json, markdown
from loadtest.chaos_run import Plan, run
from loadtest.chaos_schedule import ALL_FAULTS, Period, schedule

FLEET = {"small": ("small0", "small1", "small2"), "large": ("large0", "large1")}
"""Names of the fleet's workers by tier."""


def plan_of(given: argparse.Namespace) -> Plan:
    """Draw a run from the command line's choices.

    Raises:
        OSError, KeyError, ValueError: The trace cannot be read.
    """
    seconds = given.minutes * 60
    shape = Shape(
        seconds, given.concurrency, pace=given.pace, ttft_s=0.2, patience_s=given.patience
    )
    kinds = [kind for kind in given.fault or ALL_FAULTS if kind not in given.without]
    period = Period(0.05 * seconds, 0.95 * seconds, given.every)
    return Plan(
        given.seed,
        shape,
        planned(read_trace(given.trace), shape, given.seed),
        schedule(FLEET, kinds, period, given.seed),
        given.grace,
        given.keep,
    )


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of load")
    parser.add_argument("--concurrency", type=int, default=200, help="requests open on average")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pace", type=float, default=15.0, help="tokens a second of an answer")
    parser.add_argument("--every", type=float, default=4.0, help="seconds from fault to fault")
    parser.add_argument("--grace", type=float, default=2.0, help="seconds beyond a deadline")
    parser.add_argument("--patience", type=float, default=4.0, help="seconds for a worker's token")
    parser.add_argument("--trace", type=Path, default=SAMPLE, help="CSV, perhaps gzipped")
    parser.add_argument("--fault", action="append", choices=ALL_FAULTS, help="only these")
    parser.add_argument("--without", action="append", choices=ALL_FAULTS, default=[])
    parser.add_argument("--keep", type=Path, help="empty folder for log and journals")
    parser.add_argument("--json", type=Path, help="file for the whole report")
    return parser.parse_args(argv)


def main() -> None:
    """Run it."""
    given = arguments()
    found = asyncio.run(run(plan_of(given)))
    print(markdown(found), flush=True)
    if given.json is not None:
        given.json.write_text(json.dumps(as_json(found), indent=1), encoding="utf-8")
    sys.exit(0 if found.hold else 1)


if __name__ == "__main__":
    main()
