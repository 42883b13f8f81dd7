"""How much of the prompts workers find in their prefix caches, by balancer.

    python -m loadtest.prefix_affinity --workers URL URL --model NAME

Conversations of several turns go through a gateway of its own for each balancer, turn by turn, so
that all others come between two turns of one. Every arm has conversations nobody has seen. Hits
and queries are the workers' own counters; start the workers with caches too small for everything,
and send them nothing else.
"""

import argparse
import asyncio
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import aiohttp
from rich.console import Console
from rich.table import Table

from loadtest.conversations import TIER, Conversations, Heard, Workload
from loadtest.gateway_process import gateway
from loadtest.spawn import read_metrics

ARMS = ("prefix_affinity", "least_loaded", "round_robin")
_QUERIES, _HITS = "vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total"
_ANSWERED = "vllm:request_success_total"
_ANSWER_S = 600.0


@dataclass(frozen=True, slots=True)
class Counters:
    """What one worker counted: tokens looked up, tokens found, requests answered."""

    queries: float
    hits: float
    answered: float

    def __sub__(self, other: "Counters") -> "Counters":
        return Counters(
            self.queries - other.queries, self.hits - other.hits, self.answered - other.answered
        )


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of one balancer.

    Attributes:
        heard: What the clients heard.
        workers: What each worker counted meanwhile.
    """

    heard: Heard
    workers: Sequence[Counters]

    @property
    def answered(self) -> int:
        """Requests that the workers answered."""
        return int(sum(worker.answered for worker in self.workers))

    @property
    def hit_share(self) -> float:
        """Tokens found, of those looked up, [0, 1]."""
        return hit_share(self.workers)

    @property
    def imbalance(self) -> float:
        """Requests of the busiest worker over the mean of all, 1 and up."""
        answered = [worker.answered for worker in self.workers]
        return max(answered) / fmean(answered)


def hit_share(workers: Sequence[Counters]) -> float:
    """Return the share of tokens found, of those that all these looked up, [0, 1]."""
    return sum(worker.hits for worker in workers) / sum(worker.queries for worker in workers)


async def counters_of(session: aiohttp.ClientSession, url: str) -> Counters:
    """Return a worker's counters; `url` has no path.

    Raises:
        KeyError: it does not export vLLM's names.
    """
    async with session.get(f"{url}/metrics") as answer:
        totals = read_metrics(await answer.text())
    return Counters(totals[_QUERIES], totals[_HITS], totals.get(_ANSWERED, 0.0))


async def measure(
    arm: str, workers: Sequence[str], model: str, workload: Workload, rng: Random
) -> Measured:
    """Run the workload once through a gateway whose tier has this balancer.

    Args:
        arm: Name of the balancer.
        workers: Addresses of workers, no path.
        model: What they serve.
        workload: What is asked.
        rng: Draws what is asked.
    """
    tier = {
        "name": TIER,
        "model": model,
        "balancer": arm,
        "workers": [{"url": f"{url}/v1"} for url in workers],
    }
    limit = aiohttp.ClientTimeout(total=_ANSWER_S)
    with tempfile.TemporaryDirectory() as folder:
        async with (
            gateway(Path(folder), {}, "", changes={"tiers": [tier]}) as running,
            aiohttp.ClientSession(timeout=limit) as session,
        ):
            held = Conversations(session, running.url, workload, rng)
            return await _counted(held, session, workers)


async def _counted(
    held: Conversations, session: aiohttp.ClientSession, workers: Sequence[str]
) -> Measured:
    before = [await counters_of(session, url) for url in workers]
    heard = await held.held()
    after = [await counters_of(session, url) for url in workers]
    return Measured(heard, [now - then for then, now in zip(before, after, strict=True)])


async def run(given: argparse.Namespace) -> dict[str, list[Measured]]:
    """Run every arm in every round, in another order each."""
    workload = Workload(
        given.conversations, given.turns, tuple(given.words), given.max_tokens, given.concurrency
    )
    found: dict[str, list[Measured]] = {arm: [] for arm in given.arms}
    for round_, arm in _order(given.rounds, given.arms):
        rng = Random(f"{given.seed} {round_} {arm}")
        measured = await measure(arm, given.workers, given.model, workload, rng)
        found[arm].append(measured)
        row = {"round": round_, "arm": arm, "hit_share": measured.hit_share}
        row |= {"imbalance": measured.imbalance, "errors": measured.heard.errors}
        row |= {"ttft_s": fmean(measured.heard.ttfts), "n": measured.answered}
        print(json.dumps(row), flush=True)
    return found


def _order(rounds: int, arms: Sequence[str]) -> Iterator[tuple[int, str]]:
    for round_ in range(rounds):
        first = round_ % len(arms)
        for arm in (*arms[first:], *arms[:first]):
            yield round_, arm


def shown(found: Mapping[str, Sequence[Measured]]) -> Table:
    """Return the arms as a table; times as ratios to the last arm's."""
    table = Table(title="prefix caches by balancer")
    for place, head in enumerate(
        ("balancer", "n", "hit share", "TTFT ratio", "imbalance", "errors")
    ):
        table.add_column(head, justify="left" if place == 0 else "right")
    times = {arm: fmean(t for run in runs for t in run.heard.ttfts) for arm, runs in found.items()}
    base = times[list(found)[-1]]
    for arm, runs in found.items():
        table.add_row(
            arm,
            str(sum(run.answered for run in runs)),
            f"{hit_share([worker for run in runs for worker in run.workers]):.3f}",
            f"{times[arm] / base:.2f}",
            f"{fmean(run.imbalance for run in runs):.2f}",
            str(sum(run.heard.errors for run in runs)),
        )
    return table


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    given = _parser().parse_args(argv)
    Console(width=100).print(shown(asyncio.run(run(given))))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.prefix_affinity", description=__doc__)
    option: Any = parser.add_argument
    option("--workers", nargs="+", required=True, help="addresses without /v1")
    option("--model", required=True, help="what they serve")
    option("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    option("--conversations", type=int, default=24)
    option("--turns", type=int, default=4)
    option("--words", type=int, nargs=2, default=[250, 500], help="of instructions")
    option("--max-tokens", type=int, default=12)
    option("--concurrency", type=int, default=4)
    option("--rounds", type=int, default=1)
    option("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
