"""Sends prompts through the arms, interleaved so that they share the machine's noise."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import aiohttp

from loadtest.asking_gateway import ARMS, Manner, ask
from loadtest.journal import Journal
from loadtest.tasks import Prompt, is_right
from loadtest.worker_counters import Counted, read_counted


@dataclass(frozen=True, slots=True)
class Run:
    """What is asked: every prompt through every arm, `passes` times over.

    `manners` take the passes in turn: a second gateway shows what it shares with the first.
    `workers` maps tiers to workers whose counters are read around each request; that needs a
    concurrency of 1, the number of prompts in flight.
    """

    manners: Sequence[Manner]
    prompts: Sequence[Prompt]
    arms: Sequence[str]
    passes: int
    concurrency: int
    workers: dict[str, str]
    timeout_s: float


async def run_quality(run: Run, journal: Journal) -> None:
    """Ask all that the journal does not hold yet and add it there.

    Raises:
        ValueError: counters are to be read at a concurrency above 1.
    """
    if run.workers and run.concurrency != 1:
        raise ValueError("worker counters can only be checked with a concurrency of 1")
    gate = asyncio.Semaphore(run.concurrency)
    timeout = aiohttp.ClientTimeout(total=run.timeout_s)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        for turn in range(1, run.passes + 1):
            async with asyncio.TaskGroup() as tasks:
                for place, prompt in enumerate(run.prompts):
                    await gate.acquire()
                    task = tasks.create_task(_one_prompt(run, journal, session, turn, place))
                    task.add_done_callback(lambda _: gate.release())
                    print(f"pass {turn}, prompt {place + 1}/{len(run.prompts)}: {prompt.id}")


async def _one_prompt(
    run: Run, journal: Journal, session: aiohttp.ClientSession, turn: int, place: int
) -> None:
    prompt, manner = run.prompts[place], run.manners[(turn - 1) % len(run.manners)]
    first = place % len(run.arms)  # no arm always meets a prompt the workers have just cached
    for arm in (*run.arms[first:], *run.arms[:first]):
        if (turn, prompt.id, arm) in journal:
            continue
        before = await _counted(run, session)
        said = await ask(session, manner, ARMS[arm], prompt)
        after = await _counted(run, session)
        right = await asyncio.to_thread(is_right, prompt, said["answer"])
        row: dict[str, Any] = {"pass": turn, "prompt": prompt.id, "task": prompt.task, "arm": arm}
        counted = {tier: asdict(after[tier] - before[tier]) for tier in after}
        journal.add({**row, "right": right, **said, "counted": counted})


async def _counted(run: Run, session: aiohttp.ClientSession) -> dict[str, Counted]:
    return {tier: await read_counted(session, url) for tier, url in run.workers.items()}
