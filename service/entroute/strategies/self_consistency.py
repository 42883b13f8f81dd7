"""`self_consistency`: several samples side by side, the majority of canonical answers wins."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.errors import BudgetExhausted, DeadlineExceeded
from entroute.evidence import Outcome, StopReason, Verdict
from entroute.protocols import Run, Tier, Verifier
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
    """The samples of one request: what was asked, what came, what was not needed."""

    calls: list[Call] = field(default_factory=list)
    done: list[Completion] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    cancelled: int = 0
    cut: bool = False

    @property
    def stop_reason(self) -> StopReason:
        if self.cancelled:
            return "settled"
        if any(isinstance(failure, DeadlineExceeded) for failure in self.failures):
            return "deadline"
        return "budget" if self.cut else "exhausted"


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
                if await self._settled(run, draw.done, fanout.live):
                    break
            draw.cancelled = await fanout.cancel()
        if not draw.done:
            raise draw.failures[0]
        return await self._outcome(run, draw)

    def _reserve(self, run: Run, tier: Tier) -> _Draw:
        """Reserve the worst case of every sample, of fewer if the budget holds no more.

        Raises:
            BudgetExhausted: It does not hold a single one.
        """
        wanted = max(1, min(self._samples, run.ledger.calls_left))
        while True:
            try:
                calls = _reserved(run, tier, wanted)
            except BudgetExhausted:
                if wanted == 1:
                    raise
                wanted -= 1
            else:
                return _Draw(calls, cut=wanted < self._samples)

    async def _settled(self, run: Run, done: Sequence[Completion], live: int) -> bool:
        if live == 0 or run.verifier is not None:
            return False
        verdicts = await self._voter.score(run.request, done)
        leader, runner_up = leading_votes(verdict.answer for verdict in verdicts)
        return lossless_settled(leader, runner_up, live)

    async def _outcome(self, run: Run, draw: _Draw) -> Outcome:
        done = draw.done
        verdicts = await self._voter.score(run.request, done)
        if run.verifier is not None:
            judged = await run.verifier.score(run.request, done)
            verdicts = weighted(verdicts, judged)
        chosen = max(range(len(done)), key=lambda i: (verdicts[i].score, -i))
        finished = {completion.call_id for completion in done}
        for call in draw.calls:
            if call.id not in finished:
                run.ledger.mark(call, "discarded")
            elif call.id == done[chosen].call_id:
                run.ledger.mark(call, "answer")
        return Outcome(
            choices=(done[chosen],),
            strategy=self.name,
            stop_reason=draw.stop_reason,
            candidates=tuple(done),
            verdicts=verdicts,
            verifier=self._voter.name if run.verifier is None else run.verifier.name,
            cancelled=draw.cancelled,
            failures=tuple(str(failure) for failure in draw.failures),
        )


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
