"""Which worker of a pool takes the next call."""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Literal

from entroute.protocols import Balancer, WorkerView
from entroute.types import Call

BalancerKind = Literal["least_loaded", "round_robin"]


class RoundRobin:
    """Takes workers in turn."""

    def __init__(self) -> None:
        self._turn: Iterator[int] = count()

    def pick(self, workers: Sequence[WorkerView], _call: Call | None) -> int:
        """Return the next index in turn. See `Balancer.pick`."""
        return next(self._turn) % len(workers)


class LeastLoaded:
    """Takes the worker with the fewest calls of this gateway in flight; ties in turn."""

    def __init__(self) -> None:
        self._turn: Iterator[int] = count()

    def pick(self, workers: Sequence[WorkerView], _call: Call | None) -> int:
        """Return the index of the least loaded worker. See `Balancer.pick`."""
        start = next(self._turn) % len(workers)
        in_turn = [(start + i) % len(workers) for i in range(len(workers))]
        return min(in_turn, key=lambda index: workers[index].in_flight)


def build_balancer(kind: BalancerKind) -> Balancer:
    """Return the balancer of that name."""
    return RoundRobin() if kind == "round_robin" else LeastLoaded()
