"""Fakes that satisfy the protocols."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest_asyncio

from entroute.errors import CacheUnavailable
from entroute.evidence import Decision, Estimate, Load, Outcome, Trace, Verdict
from entroute.protocols import Run, Verifier
from entroute.types import (
    ChatRequest,
    Completion,
)
from entroute.verifiers.symbolic import SymbolicEquality


@pytest_asyncio.fixture(autouse=True)
async def no_task_left() -> AsyncIterator[None]:
    """Check that a test ends every task it started; conftests name it."""
    yield
    await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, left


class FakeCache:
    """A store in a dictionary; raises CacheUnavailable while it is dead."""

    def __init__(self, *, dead: bool = False) -> None:
        self.stored: dict[str, Outcome] = {}
        self.dead = dead

    async def get(self, key: str) -> Outcome | None:
        """Return the stored outcome or None."""
        self._check()
        return self.stored.get(key)

    async def put(self, key: str, outcome: Outcome) -> None:
        """Store an outcome."""
        self._check()
        self.stored[key] = outcome

    async def close(self) -> None:
        """Let go of nothing."""

    def _check(self) -> None:
        if self.dead:
            raise CacheUnavailable("the fake is dead")


class FakeEstimator:
    """Says what it was made to say; counts how often it was asked."""

    def __init__(self, difficulty: float | None = 0.5, *, checkable: str | None = None) -> None:
        self.asked = 0
        self._estimate = Estimate(difficulty, "fake", "made up", checkable=checkable)

    async def estimate(self, run: Run) -> Estimate:
        """Return the estimate."""
        self.asked += 1
        return self._estimate


class FakePolicy:
    """Decides what it was made to decide, or raises it."""

    def __init__(self, decision: Decision | Exception) -> None:
        self._decision = decision

    def decide(self, run: Run, estimate: Estimate, load: Load) -> Decision:
        """Return the decision."""
        if isinstance(self._decision, Exception):
            raise self._decision
        return self._decision


class FakeVerifier:
    """Scores each candidate by its content; abstains on what it was not told."""

    name = "fake"

    def __init__(self, scores: Mapping[str, float]) -> None:
        self._scores = scores

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        """Look the scores up."""
        return tuple(
            Verdict(self._scores[c.content], "told")
            if c.content in self._scores
            else Verdict(0.0, "not told", abstained=True)
            for c in candidates
        )


class FakeAlgebra(SymbolicEquality):
    """Knows the pairs of equal formulas it was told, without any child process."""

    def __init__(self, *equal: frozenset[str]) -> None:
        self.asked: list[frozenset[str]] = []
        self._equal = equal

    async def same(self, a: str, b: str) -> bool | None:
        """Look the pair up; abstain where it is not there."""
        self.asked.append(frozenset((a, b)))
        return True if frozenset((a, b)) in self._equal else None


@dataclass(slots=True)
class Recorded:
    """Keeps the traces it is given, as they were at that moment."""

    traces: list[Trace] = field(default_factory=list)

    def record(self, trace: Trace) -> None:
        """Keep one."""
        self.traces.append(replace(trace))


@dataclass(slots=True)
class FakeWorkerView:
    """A worker as balancers and gauges see it."""

    name: str = "127.0.0.1:1"
    in_flight: int = 0
    healthy: bool = True


def voter() -> Verifier:
    """Return the majority vote that `self_consistency` is built with."""
    from entroute.verifiers.majority import Majority

    return Majority(FakeAlgebra())
