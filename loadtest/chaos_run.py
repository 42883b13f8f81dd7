"""One chaos run: the parts are started, loaded, broken, mended and looked at."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from loadtest.chaos_afterwards import all_well, check_log, check_recovery, check_reloads
from loadtest.chaos_checks import (
    Check,
    Evidence,
    check_deadlines,
    check_ends,
    check_errors,
    check_text,
)
from loadtest.chaos_client import Asked
from loadtest.chaos_load import Shape, Wish
from loadtest.chaos_report import Cost, Findings
from loadtest.chaos_scene import Scene, staged
from loadtest.chaos_schedule import Fault
from loadtest.chaos_usage import Series, check_usage, in_flight
from loadtest.chaos_watch import CLIENTS, WORKERS, check_files, check_memory

_QUIET_S = 45.0
_WELL_S = 60.0
_FIRST, _FINAL = 20, 50


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does.

    Attributes:
        seed: Of all that is drawn.
        shape: How much is asked.
        wishes: What is asked.
        faults: What breaks.
        grace_s: Seconds that a request may outlive its deadline.
        keep: Folder for the gateway's log and the workers' journals, None to forget them.
    """

    seed: int
    shape: Shape
    wishes: Sequence[Wish]
    faults: Sequence[Fault]
    grace_s: float
    keep: Path | None = None


async def run(plan: Plan) -> Findings:
    """Carry out a run and judge it.

    Raises:
        ExceptionGroup: a part could not be broken or mended.
    """
    async with staged(plan.shape, plan.keep) as scene:
        await scene.load(_calm(plan.wishes, "warm", _FIRST), "warm")
        await _quiet(scene, None)
        opened, before = scene.sockets(), await scene.series()
        asked, cost = await _stormed(scene, plan)
        await scene.stage.mend()
        await _well(scene, plan.wishes)
        final = await scene.load(_calm(plan.wishes, "final", _FINAL), "final")
        await _quiet(scene, opened)
        after = await scene.series()
        evidence = Evidence([*asked, *final], scene.stage.fleet.sent(), scene.stage.happened)
        checks = [
            *_judged(evidence, before, after),
            check_deadlines(evidence, plan.grace_s),
            check_memory(scene.watch.samples, plan.shape.seconds),
            check_files(opened, scene.sockets(), in_flight(after)),
            check_recovery(final, after),
            check_reloads(scene.stage.happened, before, after),
            check_log(scene.log),
        ]
        samples = scene.watch.samples
    return Findings(plan.seed, plan.shape.seconds, evidence, samples, cost, checks)


async def _stormed(scene: Scene, plan: Plan) -> tuple[list[Asked], Cost]:
    """Load the gateway while parts break; return the answers and what it cost."""
    before = scene.cost()
    watching = asyncio.create_task(scene.watch.look())
    breaking = asyncio.create_task(scene.stage.play(plan.faults, asyncio.get_running_loop().time()))
    try:
        asked = await scene.load(plan.wishes, "chaos")
        await breaking
    finally:
        for task in (watching, breaking):
            task.cancel()
        await asyncio.gather(watching, breaking, return_exceptions=True)
    return asked, scene.cost().since(before)


async def _quiet(scene: Scene, level: Counter[str] | None) -> None:
    """Wait until nothing is in flight, no client connected, and files are back at a level."""
    end = time.monotonic() + _QUIET_S
    while time.monotonic() < end:
        await asyncio.sleep(0.5)
        now = scene.sockets()
        calm = not now[CLIENTS] and (level is None or now[WORKERS] <= level[WORKERS])
        if calm and not any(in_flight(await scene.series()).values()):
            return


async def _well(scene: Scene, wishes: Sequence[Wish]) -> None:
    """Wait until the gateway takes every worker for well; breakers close when calls succeed."""
    end = time.monotonic() + _WELL_S
    turn = 0
    while time.monotonic() < end and not all_well(await scene.series()):
        turn += 1
        await scene.load(_calm(wishes, f"well{turn}", 10), f"well{turn}")


def _calm(wishes: Sequence[Wish], name: str, count: int) -> list[Wish]:
    """Return requests of clients that wait, two seconds' worth, with prompts of their own."""
    return [
        replace(
            wish,
            number=place,
            at=place / count * 2,
            name=f"{name}{place}",
            tokens=min(wish.tokens, 40),
            max_tokens=None,
            leaves_s=None,
        )
        for place, wish in enumerate(wish for wish in wishes if not wish.own_deadline)
        if place < count
    ]


def _judged(evidence: Evidence, before: Series, after: Series) -> list[Check]:
    readings = evidence.readings()
    return [
        check_text(evidence, readings),
        check_ends(evidence),
        check_errors(evidence, readings),
        check_usage(evidence, readings, before, after),
    ]
