"""THE WALK. Read this first: what happens to a request, in order, never back up.

    1 cache        seen before? then answer
    2 difficulty   how hard is it?
    3 routing      which tier, which strategy?
    4 strategies   spend it
    5 cache        remember it
    6 telemetry    tell it, once

A client that leaves closes the generator it reads, which cancels whatever is upstream.
"""

from asyncio import CancelledError
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from dataclasses import dataclass, field, replace
from typing import Protocol

from entroute.cache.making import Asked
from entroute.cache.parts import CacheParts
from entroute.cache.seen import Seen
from entroute.decisions import Decision, Estimate, Load
from entroute.errors import BudgetExhausted, DeadlineExceeded, RequestError, WorkerRejected
from entroute.evidence import Outcome, Result, Trace
from entroute.opening import Ask, Opener
from entroute.protocols import (
    Clock,
    Estimator,
    OutcomeStream,
    Policy,
    Run,
    Strategy,
    Streams,
)
from entroute.routing.plans import pinned_decision, refuse_echo, usable_tiers
from entroute.shedding import LOAD
from entroute.strategies.base import outcome_of
from entroute.strategies.repeating import repeated
from entroute.types import Delta
from entroute.verifiers.symbolic import as_one_caller


class Recorder(Protocol):
    """Takes finished traces."""

    def record(self, trace: Trace) -> None:
        """Write one trace."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What the walk is made of.

    Attributes:
        opener: Opens runs.
        estimator: Step 2.
        policy: Step 3.
        strategies: Step 4, by name.
        may_repeat: Whether a tier's retry budget holds one more answer, made from its beginning.
        plans: The strategies of the profile's plans, each with thresholds of its own, by plan.
        cache: What steps 1 and 5 are made of, None for no cache.
        recorders: Step 6.
        load: Reads the tiers' load.
        fingerprint: Of everything configured that can change an answer.
        serving: The same of the tiers alone: of what can change a sample.
        clock: Monotonic seconds.
    """

    opener: Opener
    estimator: Estimator
    policy: Policy
    strategies: Mapping[str, Strategy]
    cache: CacheParts | None
    recorders: Sequence[Recorder]
    load: Callable[[], Load]
    fingerprint: str
    clock: Clock
    may_repeat: Callable[[str], bool] = lambda _: True
    plans: Mapping[str, Strategy] = field(default_factory=dict)
    serving: str = ""

    def strategy(self, decision: Decision) -> Strategy:
        """Return what spends by a decision."""
        return self.plans.get(decision.plan) or self.strategies[decision.strategy]


class Gateway:
    """Leads requests through the walk.

    Args:
        parts: What the walk is made of.

    Attributes:
        in_flight: Requests on their way.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._seen = Seen(parts.cache, lambda: parts.opener.models, parts.fingerprint, parts.clock)
        self.in_flight = 0

    async def close(self) -> None:
        """Cancel the answers that are being made for several clients."""
        await self._seen.close()

    async def complete(self, ask: Ask) -> Outcome:
        """Return the answer at once.

        Raises:
            EntrouteError: As the walk found; `entroute.api.errors` says what clients see.
        """
        return await outcome_of(self.stream(ask))

    async def stream(self, ask: Ask) -> OutcomeStream:
        """Release deltas as they are made where the strategy can, then the outcome.

        Raises:
            EntrouteError: As `complete`.
        """
        trace = ask.trace
        trace.asked_by(ask.principal)
        self.in_flight += 1
        self._begin(trace)
        try:
            async with aclosing(self._answer(ask)) as items:
                async for item in items:
                    if isinstance(item, Outcome):
                        trace.outcome, trace.result = item, "ok"
                    since = self._parts.clock()
                    if isinstance(item, Delta):
                        trace.note_piece(since)
                    yield item
                    trace.client_s += self._parts.clock() - since
        except (CancelledError, GeneratorExit):
            trace.result = "cancelled" if trace.result == "running" else trace.result
            raise
        except Exception as error:
            trace.error, trace.result = type(error).__name__, result_of(error)
            if isinstance(error, DeadlineExceeded):
                trace.exhausted = "deadline"
            raise
        finally:
            trace.finished = self._parts.clock()
            self.in_flight -= 1
            self._end(trace)

    def _answer(self, ask: Ask) -> OutcomeStream:
        """1 cache and 5 cache, around everything that spends."""
        deadline = self._parts.opener.deadline(ask)
        return self._seen.stream(
            Asked(
                ask.request,
                ask.options,
                ask.principal,
                ask.trace,
                deadline,
                lambda: self._spend(ask),
            )
        )

    async def _spend(self, ask: Ask) -> OutcomeStream:
        """2 difficulty, 3 routing, 4 strategy."""
        trace = ask.trace
        run = self._parts.opener.open(ask)
        self._begin(trace)
        try:
            async with self._resuming(run):
                trace.decision = await self._decide(run)
                trace.passed("decision", now := self._parts.clock(), now)
                for part in trace.decision.degraded:
                    trace.degrade(part)
                strategy = self._parts.strategy(trace.decision)
                made = repeated(run, lambda: _made(strategy, run), self._parts.may_repeat)
                async with aclosing(made) as items:
                    async for item in items:
                        yield self._charged(run, item) if isinstance(item, Outcome) else item
        finally:
            await run.close()
            # Where load left fewer calls than the budget holds, that has cut nothing short.
            exhausted, left = run.ledger.exhausted, run.ledger.calls_left
            spared = run.ledger.shed.noted and exhausted == "max_calls" and left > 0
            trace.exhausted = None if spared else exhausted
            trace.charges = run.ledger.charges
            trace.note_resumed(run.ledger.resumed)
            self._end(trace)

    def _resuming(self, run: Run) -> AbstractAsyncContextManager[None]:
        """What earlier runs of the prompt have made, and what this one makes for later ones."""
        samples = None if self._parts.cache is None else self._parts.cache.samples
        return nullcontext() if samples is None else samples.resuming(run, self._parts.serving)

    async def _decide(self, run: Run) -> Decision:
        """2 difficulty and 3 routing; a request that names tier or strategy decides itself."""
        parts, trace = self._parts, run.trace
        if run.pinned is not None:
            return pinned_decision(run, run.tier(run.pinned), parts.strategies)
        if run.options.strategy is not None:
            return pinned_decision(run, usable_tiers(run)[0], parts.strategies)
        refuse_echo(run, "")  # a policy may spend on more than one answer
        since = parts.clock()
        estimate: Estimate = await parts.estimator.estimate(run)
        trace.estimate = estimate
        trace.passed("difficulty", since, parts.clock())
        return parts.policy.decide(run, estimate, parts.load())

    def _charged(self, run: Run, outcome: Outcome) -> Outcome:
        """Return the outcome with every call's charge and every degraded part."""
        trace, ledger = run.trace, run.ledger
        trace.charges = ledger.charges
        if ledger.shed.noted:
            trace.degrade(LOAD)
        if outcome.stop_reason == "budget" and ledger.exhausted is None:
            ledger.exhausted = "max_generated_tokens"  # an answer that its share cut off
        drawn = trace.decision is not None and trace.decision.basis == "audit"
        trace.outcome = replace(
            outcome,
            charges=trace.charges,
            degraded=tuple(trace.degraded),
            repeatable=outcome.repeatable and not drawn,
        )
        return trace.outcome

    def _begin(self, trace: Trace) -> None:
        """Open one more part of a request; it is recorded when the last is closed."""
        trace.open_parts += 1

    def _end(self, trace: Trace) -> None:
        """6 telemetry: a leader that left goes on being charged while others read its answer."""
        trace.open_parts -= 1
        if trace.open_parts == 0:
            for recorder in self._parts.recorders:
                recorder.record(trace)


async def _made(strategy: Strategy, run: Run) -> OutcomeStream:
    """Have a strategy make the answer, streamed where both can."""
    if run.trace.streamed and isinstance(strategy, Streams):
        async with aclosing(strategy.stream(run)) as items:
            async for item in items:
                yield item
        return
    with as_one_caller():  # whatever tasks it begins to compare formulas
        outcome = await strategy.run(run)
    yield outcome


def result_of(error: Exception) -> Result:
    """Return whose fault an error is."""
    if isinstance(error, BudgetExhausted):
        return "server_error" if error.limit == "deadline" else "client_error"
    return "client_error" if isinstance(error, RequestError | WorkerRejected) else "server_error"
