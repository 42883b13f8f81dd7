"""`single`: one sample a choice from one tier, passed on as it is made."""

from contextlib import aclosing
from dataclasses import replace
from typing import Literal

from pydantic import BaseModel, ConfigDict

from entroute.errors import CallFailed, WorkerRejected
from entroute.evidence import Escalation, Outcome
from entroute.protocols import OutcomeStream, Run, Tier
from entroute.strategies.base import may_move, move, open_answer, outcome_of
from entroute.strategies.fanout import Fanout
from entroute.types import Completion, Delta


class SingleConfig(BaseModel):
    """One sample of one tier."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["single"] = "single"

    def build(self) -> "Single":
        """Return the strategy."""
        return Single()


class Single:
    """Asks one tier once a choice; moves to another tier before the first piece if it fails."""

    name = "single"

    def supports(self, run: Run) -> str | None:
        """Honour everything; a verifier would have nothing to choose from."""
        return "entroute.verifier" if run.verifier is not None else None

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
        return self._outcome((completion,), moves)

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
                    yield self._outcome((piece,), opened.moves)
                else:
                    yield piece

    async def _choices(self, run: Run, tier: Tier) -> OutcomeStream:
        """Make n choices side by side, one upstream call each; all must succeed."""
        n = run.request.n
        calls = [run.reserve(tier, "answer", sample=i, share=n - i) for i in range(n)]
        done: dict[int, Completion] = {}
        async with Fanout() as fanout:
            for index, call in enumerate(calls):
                fanout.start(index, tier.backend.stream(call))
            while fanout.live:
                index, arrival = await fanout.next()
                if isinstance(arrival, Delta):
                    yield replace(arrival, index=index)
                elif isinstance(arrival, Completion):
                    done[index] = arrival
                else:
                    raise arrival
        yield self._outcome(tuple(done[index] for index in range(n)), ())

    def _outcome(self, choices: tuple[Completion, ...], moves: tuple[Escalation, ...]) -> Outcome:
        return Outcome(
            choices=choices,
            strategy=self.name,
            stop_reason="escalated" if moves else "settled",
            candidates=choices,
            escalations=moves,
        )
