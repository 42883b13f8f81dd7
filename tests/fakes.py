"""Fakes that satisfy the protocols."""

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest_asyncio

from entroute.decisions import Decision, Estimate, Load, WorkerLoad
from entroute.errors import StoreUnavailable
from entroute.evidence import Outcome, Trace, Verdict
from entroute.execution import Execution, Repeat
from entroute.protocols import Run, Sandbox, Verifier
from entroute.strategies.parts import StrategyParts
from entroute.types import (
    EMPTY,
    ChatRequest,
    Completion,
)
from entroute.verifiers.majority import Majority
from entroute.verifiers.parts import VerifierParts
from entroute.verifiers.symbolic import SymbolicEquality
from tests.builders import a_run, a_tier


@pytest_asyncio.fixture(autouse=True)
async def no_task_left() -> AsyncIterator[None]:
    """Check that a test ends every task it started; conftests name it."""
    yield
    await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, left


class FakeCache:
    """A store in a dictionary; raises StoreUnavailable while it is dead."""

    def __init__(self, *, dead: bool = False) -> None:
        self.stored: dict[str, Outcome] = {}
        self.dead = dead

    async def get(self, key: str) -> Outcome | None:
        """Return the stored outcome or None."""
        self._check()
        return self.stored.get(key)

    async def put(self, key: str, outcome: Outcome, stamps: Mapping[str, str] = EMPTY) -> bool:
        """Store an outcome."""
        self._check()
        self.stored[key] = outcome
        return True

    async def close(self) -> None:
        """Let go of nothing."""

    def _check(self) -> None:
        if self.dead:
            raise StoreUnavailable("the fake is dead")


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
    top_logprobs: int | None = None
    compares = False
    calls = 0

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


class FakeSandbox:
    """Runs programs by a function of their source, in place of a sandbox.

    Attributes:
        sources: Every program it was given, in order.
    """

    def __init__(self, execute: Callable[[str], Execution | Exception]) -> None:
        self.sources: list[str] = []
        self._execute = execute

    async def run(
        self, source: str, *, stdin: str = "", wall_s: float = 10.0, repeat: Repeat | None = None
    ) -> Execution:
        """Look the program's run up."""
        self.sources.append(source)
        result = self._execute(source)
        if isinstance(result, Exception):
            raise result
        return result


class StuckSandbox(FakeSandbox):
    """Runs programs that never end."""

    def __init__(self) -> None:
        super().__init__(lambda _: Execution("ok"))

    async def run(
        self, source: str, *, stdin: str = "", wall_s: float = 10.0, repeat: Repeat | None = None
    ) -> Execution:
        """Wait for ever."""
        await asyncio.Event().wait()
        return await super().run(source)


def executed(source: str) -> Execution:
    """Run a trusted program here and now, for tests of what is made of its output."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(source, "program", "exec"), {"__name__": "__main__"})  # noqa: S102
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a program may raise anything
        return Execution("error", printed.getvalue(), f"{type(error).__name__}: {error}")
    return Execution("ok", printed.getvalue())


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
class FakeBreakerView:
    """A worker's breaker as gauges see it."""

    state: int = 0
    opened: int = 0


@dataclass(slots=True)
class FakeWorkerView:
    """A worker as balancers and gauges see it."""

    name: str = "127.0.0.1:1"
    in_flight: int = 0
    healthy: bool = True
    weight: float = 1.0
    load: WorkerLoad | None = None
    breaker: FakeBreakerView = field(default_factory=FakeBreakerView)
    ejected: bool = False

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://{self.name}/v1"


def voter() -> Verifier:
    """Return the majority vote that strategies are built with."""
    return Majority(FakeAlgebra())


def strategy_parts(sandbox: Sandbox | None = None) -> StrategyParts:
    """Return what strategies are built with."""
    return StrategyParts(voter(), sandbox)


def verifier_parts(
    *, run: Run | None = None, sandbox: Sandbox | None = None, algebra: FakeAlgebra | None = None
) -> VerifierParts:
    """Return what verifiers are built with, for a run on one small tier if none is given."""
    return VerifierParts(algebra or FakeAlgebra(), run or a_run(a_tier("small")), sandbox)
