"""`self_consistency`: several samples side by side, the majority of canonical answers wins."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.errors import BudgetExhausted, DeadlineExceeded
from entroute.evidence import Escalation, Outcome, StopReason, Verdict
from entroute.protocols import Run, Tier, Verifier
from entroute.strategies.base import may_move, move
from entroute.strategies.fanout import Failure, Fanout
from entroute.types import Call, Completion, Delta
from entroute.uncertainty import leading_votes, lossless_settled


class SelfConsistencyConfig(BaseModel):
    """Majority vote over samples of one tier."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["self_consistency"] = "self_consistency"
    samples: int = Field(
        default=5, ge=3, le=64, description="Samples at most; a vote of two equals one sample."
    )

    def build(self, voter: Verifier) -> "SelfConsistency":
        """Return the strategy; `voter` gives each candidate its canonical answer."""
        return SelfConsistency(self.samples, voter)


@dataclass(slots=True)
class _Draw:
    """The samples of one tier: what was asked, what came, what was not needed.

    Attributes:
        votes: One for each of `done`, same order.
        cut: Whether the budget held fewer samples than wanted.
        late: Whether the deadline passed while answers were compared.
    """

    calls: list[Call] = field(default_factory=list)
    done: list[Completion] = field(default_factory=list)
    votes: tuple[Verdict, ...] = ()
    failures: list[Failure] = field(default_factory=list)
    cancelled: int = 0
    cut: bool = False
    late: bool = False

    @property
    def stop_reason(self) -> StopReason:
        missed = any(isinstance(failure, DeadlineExceeded) for failure in self.failures)
        if self.late or (missed and not self.cancelled):
            return "deadline"
        if self.cut:
            return "budget"
        return "settled" if self.cancelled else "exhausted"


class SelfConsistency:
    """Draws samples concurrently and stops when no open sample can change the majority.

    Every sample is one streamed upstream request, so that those no longer needed are cancelled
    one by one. With a verifier in the request the vote is weighted by its scores, and all
    samples are drawn, since a weight is known only at the end.

    Args:
        samples: Most samples drawn.
        voter: Gives each candidate its canonical answer; a sample without one has no vote.

    Source: self-consistency (2203.11171); stopping when v1 - v2 exceeds what is left loses
    nothing; weighted votes argmax_a sum_{i: a_i = a} w_i (2310.10047).
    """

    name = "self_consistency"

    def __init__(self, samples: int, voter: Verifier) -> None:
        self._samples = samples
        self._voter = voter

    def supports(self, run: Run) -> str | None:
        """Refuse several choices, and temperature 0, at which all samples are one."""
        if run.request.n > 1:
            return "n"
        return "temperature" if run.request.temperature == 0 else None

    async def run(self, run: Run) -> Outcome:
        """Draw, vote, cancel what is not needed. See `Strategy.run`."""
        tier = run.tier(run.decision.tier)
        await run.close()
        moves: tuple[Escalation, ...] = ()
        draw = await self._drawn(run, tier)
        while not draw.done:
            failure = draw.failures[0]
            target = may_move(run, tier, failure, moves)
            if target is None:
                raise failure
            moves = (*moves, move(run, tier, target, failure))
            tier = target
            draw = await self._drawn(run, tier)
        return await self._outcome(run, draw, moves)

    async def _drawn(self, run: Run, tier: Tier) -> _Draw:
        """Draw until the vote is settled or no sample is open."""
        draw = self._reserve(run, tier)
        async with Fanout() as fanout:
            for call in draw.calls:
                fanout.start(call.id, tier.backend.stream(call))
            while fanout.live:
                _, arrival = await fanout.next()
                if isinstance(arrival, Delta):
                    continue
                if not isinstance(arrival, Completion):
                    draw.failures.append(arrival)
                    continue
                draw.done.append(arrival)
                if await self._settled(run, draw, fanout.live):
                    break
            draw.cancelled = await fanout.cancel()
        return draw

    def _reserve(self, run: Run, tier: Tier) -> _Draw:
        """Reserve the worst case of every sample, of fewer if the budget holds no more.

        Raises:
            BudgetExhausted: It does not hold a single one.
        """
        wanted = max(1, min(self._samples, run.ledger.calls_left))
        if wanted < self._samples:
            run.ledger.exhausted = "max_calls"
        while True:
            try:
                calls = _reserved(run, tier, wanted)
            except BudgetExhausted:
                if wanted == 1:
                    raise
                wanted -= 1
            else:
                return _Draw(calls, cut=wanted < self._samples)

    async def _settled(self, run: Run, draw: _Draw, live: int) -> bool:
        """Vote on what is done; whether that ends the vote, by majority or by deadline.

        A sample that could not be compared in time has no vote. The first is compared with none.
        """
        try:
            async with _until_deadline(run):
                draw.votes = await self._voter.score(run.request, draw.done)
        except TimeoutError:
            draw.late = True
            late = Verdict(0.0, "not compared before the deadline", abstained=True)
            draw.votes = (*draw.votes, late)
            return True
        leader, runner_up = leading_votes(vote.answer for vote in draw.votes)
        return run.verifier is None and lossless_settled(leader, runner_up, live)

    async def _verdicts(self, run: Run, draw: _Draw) -> tuple[Verdict, ...]:
        """Return the votes, weighted where the client's verifier judged in time."""
        if run.verifier is None:
            return draw.votes
        try:
            async with _until_deadline(run):
                return weighted(draw.votes, await run.verifier.score(run.request, draw.done))
        except TimeoutError:
            draw.late = True
            return draw.votes

    async def _outcome(self, run: Run, draw: _Draw, moves: tuple[Escalation, ...]) -> Outcome:
        done = draw.done
        verdicts = await self._verdicts(run, draw)
        chosen = max(range(len(done)), key=lambda i: (verdicts[i].score, -i))
        finished = {completion.call_id for completion in done}
        for call in draw.calls:
            if call.id not in finished:
                run.ledger.mark(call, "discarded")
            elif call.id == done[chosen].call_id:
                run.ledger.mark(call, "answer")
        stop = "budget" if run.ledger.cut(done[chosen]) else draw.stop_reason
        if stop == "deadline":
            run.ledger.exhausted = "deadline"
        return Outcome(
            choices=(done[chosen],),
            strategy=self.name,
            stop_reason=stop,
            candidates=tuple(done),
            verdicts=verdicts,
            verifier=self._voter.name if run.verifier is None else run.verifier.name,
            escalations=moves,
            cancelled=draw.cancelled,
            failures=tuple(str(failure) for failure in draw.failures),
        )


def _until_deadline(run: Run) -> asyncio.Timeout:
    return asyncio.timeout(max(0.0, run.ledger.budget.deadline - run.clock()))


def _reserved(run: Run, tier: Tier, samples: int) -> list[Call]:
    """Reserve so many calls or none.

    Raises:
        BudgetExhausted: The budget does not hold them all.
    """
    calls: list[Call] = []
    try:
        while (i := len(calls)) < samples:
            calls.append(run.reserve(tier, "sample", sample=i, share=samples - i))
    except BudgetExhausted:
        for call in calls:
            run.ledger.release(call)
        raise
    return calls


def weighted(votes: Sequence[Verdict], judged: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Return votes whose score is their answer's share of all weight.

    A candidate's weight is its verifier's score, 0 where it has no answer. Where the verifier
    abstained on every candidate, the plain votes stand.
    """
    if all(verdict.abstained for verdict in judged):
        return tuple(votes)
    weights: dict[str, float] = {}
    for vote, verdict in zip(votes, judged, strict=True):
        if vote.answer is not None and not verdict.abstained:
            weights[vote.answer] = weights.get(vote.answer, 0.0) + verdict.score
    total = sum(weights.values()) or 1.0
    return tuple(
        Verdict(weights.get(v.answer or "", 0.0) / total, j.reason, j.abstained, v.answer)
        for v, j in zip(votes, judged, strict=True)
    )
