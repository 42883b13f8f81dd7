"""`single`: one sample a choice from one tier, passed on as it is made."""

from contextlib import aclosing
from dataclasses import replace
from typing import Literal

from pydantic import BaseModel, ConfigDict

from entroute.errors import CallFailed, WorkerRejected
from entroute.evidence import Escalation, Outcome, Refusal, StopReason
from entroute.protocols import OutcomeStream, Run, Tier
from entroute.strategies.base import may_move, move, open_answer, outcome_of
from entroute.strategies.fanout import Failure, Fanout
from entroute.strategies.parts import StrategyParts
from entroute.strategies.refusals import refuse_verifier
from entroute.types import Completion, Delta


class SingleConfig(BaseModel):
    """One sample of one tier."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["single"] = "single"

    def build(self, parts: StrategyParts) -> "Single":
        """Return the strategy."""
        return Single()


class Single:
    """Asks one tier once a choice; moves to another tier before the first piece if it fails."""

    name = "single"

    def supports(self, run: Run) -> Refusal | None:
        """Honour everything; a verifier would have nothing to choose from."""
        return refuse_verifier(run)

    async def run(self, run: Run) -> Outcome:
        """Answer at once. See `Strategy.run`."""
        if run.request.n > 1 or run.head is not None:
            return await outcome_of(self.stream(run))
        return await self._ask(run, run.tier(run.decision.tier), ())

    async def _ask(self, run: Run, tier: Tier, moves: tuple[Escalation, ...]) -> Outcome:
        call = run.reserve(tier, "answer")
        try:
            completion = await tier.backend.complete(call)
        except (CallFailed, WorkerRejected) as error:
            target = may_move(run, tier, error, moves)
            if target is None:
                raise
            return await self._ask(run, target, (*moves, move(run, tier, target, error)))
        return self._outcome(run, (completion,), moves)

    async def stream(self, run: Run) -> OutcomeStream:
        """Pass the pieces on. See `Streams.stream`."""
        tier = run.tier(run.decision.tier)
        stream = self._choices(run, tier) if run.request.n > 1 else self._one(run, tier)
        async with aclosing(stream):
            async for piece in stream:
                yield piece

    async def _one(self, run: Run, tier: Tier) -> OutcomeStream:
        opened = await open_answer(run, tier)
        async with aclosing(opened.pieces()) as pieces:
            async for piece in pieces:
                if isinstance(piece, Completion):
                    yield self._outcome(run, (piece,), opened.moves, cut=opened.cut)
                else:
                    yield piece

    async def _choices(
        self, run: Run, tier: Tier, moves: tuple[Escalation, ...] = ()
    ) -> OutcomeStream:
        """Make n choices side by side, one upstream call each; all must succeed.

        All of them move to another tier where one fails before anything was released.
        """
        n = run.request.n
        calls = [run.reserve(tier, "answer", sample=i, share=n - i) for i in range(n)]
        done: dict[int, Completion] = {}
        released = False
        failure: Failure | None = None
        async with Fanout() as fanout:
            for index, call in enumerate(calls):
                fanout.start(index, tier.backend.stream(call))
            while fanout.live and failure is None:
                index, arrival = await fanout.next()
                if isinstance(arrival, Delta):
                    released = True
                    yield replace(arrival, index=index)
                elif isinstance(arrival, Completion):
                    done[index] = arrival
                else:
                    failure = arrival
        if failure is None:
            yield self._outcome(run, tuple(done[index] for index in range(n)), moves)
            return
        target = None if released else may_move(run, tier, failure, moves)
        if target is None:
            raise failure
        for call in calls:
            run.ledger.mark(call, "discarded")
        moved = self._choices(run, target, (*moves, move(run, tier, target, failure)))
        async with aclosing(moved):
            async for piece in moved:
                yield piece

    def _outcome(
        self,
        run: Run,
        choices: tuple[Completion, ...],
        moves: tuple[Escalation, ...],
        *,
        cut: bool = False,
    ) -> Outcome:
        stop: StopReason = "escalated" if moves else "settled"
        if cut or any(run.ledger.cut(choice) for choice in choices):
            stop = "budget"
        return Outcome(
            choices=choices,
            strategy=self.name,
            stop_reason=stop,
            candidates=choices,
            escalations=moves,
        )
