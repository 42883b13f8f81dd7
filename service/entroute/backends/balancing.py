"""Which worker of a pool takes the next call."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import count
from typing import Literal

from entroute.backends.affinity import SentPrompts, beginnings_of
from entroute.backends.worker_load import Reports, silent
from entroute.protocols import Balancer, WorkerView
from entroute.types import Call

EmbeddingBalancerKind = Literal["least_loaded", "round_robin"]
BalancerKind = Literal["prefix_affinity", "least_loaded", "round_robin"]


@dataclass(frozen=True, slots=True)
class Bound:
    """How much of something one worker may be given.

    Attributes:
        factor: Times its fair share, by weight; above 1.
        slack: And so much more, at least 1, so that nothing is refused where there is nothing yet.

    Source: Mirrokni, Thorup and Zadimoghaddam (1608.01350), section 1: capacity ceil(c m / n).
    """

    factor: float
    slack: float


CALLS = Bound(1.25, 4.0)
"""Calls of a worker that holds a prompt: a few more hardly slow a batch down."""

_CALLS_UNSEEN = Bound(1.25, 2.0)
"""Calls of the home of a prompt that nobody holds: it loses little by going elsewhere."""

_HELD_UNSEEN = Bound(1.1, 1.0)
"""Beginnings, not calls, that such a home holds."""


class RoundRobin:
    """Takes workers in turn, one that warms up less often.

    Source: smooth weighted round robin, nginx, ngx_http_upstream_round_robin.c: everyone gains its
    weight, the richest is taken and pays what all gained.
    """

    def __init__(self) -> None:
        self._credit: dict[str, float] = {}

    def pick(self, workers: Sequence[WorkerView], _call: Call | None, /) -> int:
        """Return the next index in turn. See `Balancer.pick`."""
        self._credit = {w.url: self._credit.get(w.url, 0.0) + w.weight for w in workers}
        choice = max(range(len(workers)), key=lambda index: self._credit[workers[index].url])
        self._credit[workers[choice].url] -= sum(worker.weight for worker in workers)
        return choice

    def forget(self, url: str, /) -> None:
        """Forget a worker. See `Balancer.forget`."""
        self._credit.pop(url, None)


class LeastLoaded:
    """Takes the worker with the fewest calls for its weight; ties in turn.

    Args:
        reports: What workers said of their load.
    """

    def __init__(self, reports: Reports | None = None) -> None:
        self._reports = reports or silent()
        self._turn: Iterator[int] = count()

    def pick(self, workers: Sequence[WorkerView], _call: Call | None, /) -> int:
        """Return the index of the least loaded worker. See `Balancer.pick`."""
        busy = self._reports.busy(workers)
        start = next(self._turn) % len(workers)
        in_turn = [(start + i) % len(workers) for i in range(len(workers))]
        return min(in_turn, key=lambda index: (busy[index] + 1) / workers[index].weight)

    def forget(self, url: str, /) -> None:
        """Keep nothing of a worker that is gone. See `Balancer.forget`."""


class PrefixAffinity:
    """Takes the worker that most probably holds the longest beginning of the prompt.

    Among those that are not overloaded. Where none was sent any of it, and where several were sent
    as much, its home is taken: the highest random weight, which gateways that share nothing agree
    on and which moves only the prompts of a worker that is lost. Prompts shorter than a block, and
    embeddings, go to the least loaded.

    Source: Thaler and Ravishankar, Using name-based mappings to increase hit rates (1998): highest
    random weight; Schindelhauer and Schomaker, Weighted distributed hash tables (2005), section 3:
    -weight / ln(u).

    Args:
        reports: What workers said of their load.
        sent: What is remembered of prompts.
    """

    def __init__(self, reports: Reports | None = None, sent: SentPrompts | None = None) -> None:
        self._reports = reports or silent()
        self._sent = sent or SentPrompts()
        self._least_loaded = LeastLoaded(reports)

    def pick(self, workers: Sequence[WorkerView], call: Call | None, /) -> int:
        """Return the index of the worker to call. See `Balancer.pick`."""
        if len(workers) == 1:
            return 0
        prompt = None if call is None else beginnings_of(call)
        if prompt is None:
            return self._least_loaded.pick(workers, call)
        busy = self._reports.busy(workers)
        allowed = within_bound(workers, busy, CALLS)
        holders = self._sent.holders(prompt, {workers[index].url for index in allowed})
        allowed = [index for index in allowed if workers[index].url in holders]
        choice = max(
            allowed or self._roomy(workers, busy),
            key=lambda index: _random_weight(prompt.home, workers[index]),
        )
        self._sent.note(prompt, workers[choice].url)
        return choice

    def _roomy(self, workers: Sequence[WorkerView], busy: Sequence[int]) -> list[int]:
        """Return which workers may be given what none of them holds.

        Neither those that are busy, nor those that hold so much that it would drive other prompts
        out of their caches while other workers' are emptier.
        """
        idle = within_bound(workers, busy, _CALLS_UNSEEN)
        held = [self._sent.held(worker.url) for worker in workers]
        empty = within_bound(workers, held, _HELD_UNSEEN)
        return [index for index in idle if index in empty] or idle

    def forget(self, url: str, /) -> None:
        """Forget a worker. See `Balancer.forget`."""
        self._sent.forget(url)


def within_bound(workers: Sequence[WorkerView], loads: Sequence[int], bound: Bound) -> list[int]:
    """Return which workers may be given one more, at least one: the least loaded always may.

    Args:
        workers: At least one.
        loads: What each has: calls, or whatever else is to be shared.
        bound: How much one may have.
    """
    wanted, heaviest = sum(loads) + 1, max(worker.weight for worker in workers)
    total = sum(worker.weight for worker in workers)

    def may(index: int) -> bool:
        weight = workers[index].weight
        share = wanted * weight / total
        return loads[index] + 1 <= bound.factor * share + bound.slack * weight / heaviest

    least = min(range(len(workers)), key=lambda i: (loads[i] + 1) / workers[i].weight)
    return [index for index in range(len(workers)) if index == least or may(index)]


def _random_weight(home: bytes, worker: WorkerView) -> float:
    """Return a worker's weight for a prompt, above 0: the highest is its home."""
    drawn = int.from_bytes(blake2b(home + worker.url.encode(), digest_size=8).digest()) >> 12
    return -worker.weight / math.log((drawn + 0.5) / 2**52)


def build_balancer(kind: BalancerKind, reports: Reports | None = None) -> Balancer:
    """Return the balancer of that name; only this gateway's calls count without reports."""
    if kind == "round_robin":
        return RoundRobin()
    return LeastLoaded(reports) if kind == "least_loaded" else PrefixAffinity(reports)
