"""Ask a running gateway fresh prompts by several arms: what was predicted, and what came of it.

    python -m loadtest.live --prompts fresh.jsonl --gateway http://127.0.0.1:8080 \
        --arm auto --arm small --arm large --arm votes=small:reasc --out live.jsonl

An arm is `auto`, a tier, or NAME=TIER:STRATEGY (TIER may be `auto`). Arms are interleaved; answers
are graded by the prompts' own checks; everything that was spent is charged. --rate asks at random
times instead, so many requests a second, one arm after the other, whether answered or not.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import httpx
import numpy as np
from rich.console import Console
from rich.table import Table

from entroute.evaluation.arms import difference
from entroute.evaluation.grading import PROGRAM, Grader, grader
from entroute.evaluation.prompts_file import BankPrompt, read_prompts
from entroute.sandbox import BubblewrapConfig
from loadtest.journal import Journal


@dataclass(frozen=True, slots=True)
class Arm:
    """How the gateway is asked.

    Attributes:
        name: In tables.
        model: `auto` or a tier.
        strategy: A pinned strategy, or None.
    """

    name: str
    model: str
    strategy: str | None = None


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked, and how.

    Attributes:
        gateway: Its address, without /v1.
        prompts: Fresh ones.
        arms: In the order of the table; differences are to the first.
        temperature: Of every answer.
        max_tokens: Of one answer.
        concurrency: Requests in flight, without a rate.
        rate: Requests a second, None for as many as `concurrency` allows.
        seed: Of the order of prompts and of arrivals.
    """

    gateway: str
    prompts: Sequence[BankPrompt]
    arms: Sequence[Arm]
    temperature: float
    max_tokens: int
    concurrency: int
    rate: float | None
    seed: int


def arm_of(text: str) -> Arm:
    """Read an arm: `auto`, `TIER` or `NAME=TIER:STRATEGY`."""
    name, _, rest = text.partition("=")
    model, _, strategy = (rest or name).partition(":")
    return Arm(name, model, strategy or None)


async def ask(client: httpx.AsyncClient, asking: Asking, arm: Arm, prompt: BankPrompt) -> Any:
    """Ask once and return what came back, an error too."""
    options: dict[str, Any] = {"explain": True, "cache": "bypass"}
    if arm.strategy is not None:
        options["strategy"] = arm.strategy
    body = {
        "model": arm.model,
        "messages": list(prompt.messages),
        "temperature": asking.temperature,
        "max_tokens": asking.max_tokens,
        "entroute": options,
    }
    since = time.monotonic()
    response = await client.post("/v1/chat/completions", json=body)
    row: dict[str, Any] = {"status": response.status_code, "latency_s": time.monotonic() - since}
    if response.status_code != httpx.codes.OK:
        return row | {"error": response.text[:200]}
    answer = response.json()
    spent = answer["usage"]["entroute"]
    decision = answer["entroute"].get("decision", {})
    return row | {
        "text": answer["choices"][0]["message"]["content"] or "",
        "cut": answer["choices"][0]["finish_reason"] == "length",
        "tier": response.headers.get("x-entroute-tier"),
        "strategy": response.headers.get("x-entroute-strategy"),
        "overhead_ms": float(response.headers.get("x-entroute-overhead-ms", "nan")),
        "degraded": response.headers.get("x-entroute-degraded"),
        "plan": decision.get("plan"),
        "basis": decision.get("basis"),
        "predicted": decision.get("predicted_quality"),
        "predicted_usd": decision.get("predicted_cost_usd"),
        "usd": spent["cost_usd"],
        "calls": spent["calls"],
        "tokens": spent["completion_tokens"],
        "by": spent,
    }


async def run(asking: Asking, journal: Journal, judge: Grader) -> None:
    """Ask everything that the journal does not hold yet."""
    todo = [
        (arm, prompt)
        for prompt in asking.prompts
        for arm in asking.arms
        if (1, prompt.id, arm.name) not in journal
    ]
    # At a rate, one arm's load must not be another's: each begins when the last one has ended.
    turns = [todo]
    if asking.rate is not None:
        turns = [[item for item in todo if item[0] == arm] for arm in asking.arms]
    rng = Random(asking.seed)
    gate = asyncio.Semaphore(asking.concurrency if asking.rate is None else len(todo) + 1)
    async with httpx.AsyncClient(base_url=asking.gateway, timeout=1800.0) as client:

        async def one(arm: Arm, prompt: BankPrompt) -> None:
            async with gate:
                row = await ask(client, asking, arm, prompt)
            text, cut = row.get("text", ""), row.get("cut", False)
            right = bool(text) and (await judge.grade(prompt, text, cut=cut)).right
            known = {"pass": 1, "prompt": prompt.id, "task": prompt.task, "arm": arm.name}
            journal.add(known | {"right": bool(right)} | row)

        for turn in turns:
            async with asyncio.TaskGroup() as tasks:
                for arm, prompt in turn:
                    if asking.rate is not None:
                        await asyncio.sleep(rng.expovariate(asking.rate))
                    tasks.create_task(one(arm, prompt))


def shown(rows: Sequence[dict[str, Any]], arms: Sequence[Arm], seed: int) -> Table:
    """Return the arms as a table: means over all prompts, differences to the first arm."""
    table = Table(title="live")
    heads = (
        "arm n right predicted difference 95% usd/1000 predicted tokens calls p50_s p95_s errors"
    )
    for place, head in enumerate(heads.split()):
        table.add_column(head, justify="left" if place == 0 else "right")
    by_arm = {arm.name: {r["prompt"]: r for r in rows if r["arm"] == arm.name} for arm in arms}
    first = by_arm[arms[0].name]
    for arm in arms:
        mine = by_arm[arm.name]
        both = sorted(mine.keys() & first.keys())
        ones = np.array([float(first[p]["right"]) for p in both])
        others = np.array([float(mine[p]["right"]) for p in both])
        found = difference(ones, others, np.random.default_rng(seed))
        served = [r for r in mine.values() if r["status"] == httpx.codes.OK]
        claimed = [r for r in served if r["predicted"] is not None]
        latencies = sorted(r["latency_s"] for r in served)
        table.add_row(
            arm.name,
            str(len(mine)),
            f"{fmean(r['right'] for r in mine.values()):.3f}",
            _mean(claimed, "predicted"),
            f"{found.mean:+.3f}",
            f"{found.low:+.3f} to {found.high:+.3f}",
            f"{1000 * fmean(r['usd'] for r in served):.3f}",
            _mean(claimed, "predicted_usd", 1000),
            f"{fmean(r['tokens'] for r in served):.0f}",
            f"{fmean(r['calls'] for r in served):.2f}",
            f"{latencies[len(latencies) // 2]:.1f}",
            f"{latencies[int(0.95 * len(latencies))]:.1f}",
            str(len(mine) - len(served)),
        )
    return table


def _mean(rows: Sequence[dict[str, Any]], name: str, factor: float = 1.0) -> str:
    return f"{factor * fmean(row[name] for row in rows):.3f}" if rows else ""


def main(argv: Sequence[str] | None = None) -> None:
    """Ask, grade and print."""
    given = _parser().parse_args(argv)
    file = read_prompts(given.prompts)
    prompts = [prompt for prompt in file.prompts if prompt.form != PROGRAM]
    Random(given.seed).shuffle(prompts)
    arms = [arm_of(text) for text in given.arm]
    asking = Asking(
        given.gateway,
        prompts[: given.count],
        arms,
        given.temperature,
        given.max_tokens,
        given.concurrency,
        given.rate,
        given.seed,
    )
    journal = Journal(given.out, {"temperature": given.temperature, "rate": given.rate})

    async def asked() -> None:
        async with grader(file, BubblewrapConfig(), time.monotonic) as judge:
            await run(asking, journal, judge)

    asyncio.run(asked())
    rows = [row for row in journal.rows() if row["arm"] in {arm.name for arm in arms}]
    Console(width=150).print(shown(rows, arms, given.seed))
    plans: dict[str, int] = {}
    for row in rows:
        if row.get("plan"):
            plans[row["plan"]] = plans.get(row["plan"], 0) + 1
    print(json.dumps({"plans": dict(sorted(plans.items(), key=lambda item: -item[1]))}))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.live", description=__doc__)
    option = parser.add_argument
    option("--prompts", type=Path, required=True, help="as `entroute bank` reads them")
    option("--gateway", default="http://127.0.0.1:8080", help="its address, without /v1")
    option("--arm", action="append", required=True, help="may be given several times")
    option("--count", type=int, default=None, help="prompts at most")
    option("--temperature", type=float, default=0.7)
    option("--max-tokens", type=int, default=320, help="of one answer")
    option("--concurrency", type=int, default=16, help="requests in flight")
    option("--rate", type=float, help="requests a second at random times")
    option("--seed", type=int, default=0)
    option("--out", type=Path, required=True, help="rows as they come; an old run goes on")
    return parser


if __name__ == "__main__":
    main()
