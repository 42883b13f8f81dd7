"""`cot_pot`: one sample reasons, one writes a program; where they agree, that is the answer."""

from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.errors import BudgetExhausted, Limit
from entroute.evidence import Escalation, Outcome, Refusal, Verdict, cut_by
from entroute.protocols import Run, Verifier
from entroute.strategies.base import continued, may_move, move, taken_head
from entroute.strategies.climbing import Climb, answered_above, climb_outcome, higher
from entroute.strategies.drawing import Draw, Step, arrived, note_late
from entroute.strategies.fanout import Fanout
from entroute.strategies.judging import verdicts_of
from entroute.strategies.parts import StrategyParts
from entroute.strategies.plain import one_sample
from entroute.strategies.programs import (
    PROGRAM_LINE,
    Printed,
    ballot,
    printed,
    refuse_rewritten,
    spoken,
)
from entroute.strategies.prompting import with_line
from entroute.strategies.refusals import need_sandbox, refuse_choices, refuse_tools
from entroute.strategies.reserving import next_sample, shrunk
from entroute.strategies.votes import refuse_judge, voter_of
from entroute.types import Call, Completion
from entroute.uncertainty import beta_settled, leading_votes, lossless_settled, votes_needed

PAIR = 2
"""One sample that reasons and one that programs."""


class CotPotConfig(BaseModel):
    """Agreement of reasoning and a program, else a pooled vote that stops by the Beta criterion."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["cot_pot"] = "cot_pot"
    samples: int = Field(default=10, ge=2, le=64, description="Samples of both kinds at most.")
    level: float = Field(
        default=0.95, gt=0.5, lt=1, description="Probability that the leader stays ahead."
    )
    escalate: bool = Field(
        default=False, description="Whether disagreement goes up a tier in place of more samples."
    )
    wall_s: float = Field(default=5.0, gt=0, le=60, description="Seconds that a program may run.")

    def build(self, parts: StrategyParts) -> "CotPot":
        """Return the strategy."""
        return CotPot(self, parts)


@dataclass(slots=True)
class _Pool:
    """The samples of both kinds on one tier.

    Attributes:
        draw: Them all, with pooled votes.
        voter: Reads answers.
        programs: Ids of the calls that write programs.
        ballots: Each finished sample as its voter reads it, same order as `draw.done`.
        ran: What came of programs, by call id.
        lost: Whether programs cannot be run.
        missed: The limit that kept disagreement from going up a tier, or None.
    """

    draw: Draw
    voter: Verifier
    programs: set[int] = field(default_factory=set)
    ballots: list[Completion] = field(default_factory=list)
    ran: dict[int, Printed] = field(default_factory=dict)
    lost: bool = False
    missed: Limit | None = None

    @property
    def programs_next(self) -> bool:
        """Whether the next sample writes a program: they alternate, reasoning first."""
        return not self.lost and len(self.programs) * 2 < len(self.draw.calls)


class CotPot:
    """Draws one sample of each kind; where they disagree, more of both until a vote settles.

    The client asked for an answer, not for code: the answer is a reasoning sample's text where
    one has the winning answer, else a sentence that says what a program printed.

    Args:
        config: As configured.
        parts: Its voter reads answers, its sandbox runs programs.

    Source: CoT-PoT (2604.17433); program-aided reasoning (2112.15594); the fallback is adaptive
    consistency (2305.11860) over pooled votes.
    """

    name = "cot_pot"

    def __init__(self, config: CotPotConfig, parts: StrategyParts) -> None:
        self._config = config
        self._parts = parts

    def supports(self, run: Run) -> Refusal | None:
        """Refuse what a sentence cannot honour, weights, tools, and a server without a sandbox."""
        refusal = need_sandbox(self._parts.sandbox) or refuse_choices(run) or refuse_tools(run)
        return refusal or refuse_judge(run) or refuse_rewritten(run)

    async def run(self, run: Run) -> Outcome:
        """Draw a pair, compare, draw on or go up. See `Strategy.run`."""
        before = run.ledger.exhausted
        pool = await self._pool(run)
        draw = pool.draw
        if draw.stop in {"settled", "verified"}:
            run.ledger.exhausted = before  # what was refused on the way made no difference
        elif draw.stop == "exhausted" and pool.missed is not None:
            draw.stop, run.ledger.exhausted = "budget", pool.missed
        climb = Climb([draw], draw.moves, draw.stop)
        if draw.stop == "escalated":
            chosen = await answered_above(run, climb, one_sample(pool.voter)) or self._best(pool)
        else:
            chosen = self._best(pool)
        outcome = climb_outcome(run, self.name, pool.voter.name, climb, chosen)
        answer = spoken(run.request, chosen, pool.ran.get(chosen.call_id))
        return replace(outcome, choices=(answer,))

    async def _pool(self, run: Run) -> _Pool:
        """Draw on the decided tier, or on another one if not a single sample of it arrives.

        Raises:
            CallFailed, WorkerRejected, BudgetExhausted, DeadlineExceeded: No tier gave a sample.
        """
        tier = run.tier(run.decision.tier)
        # At temperature 0 a second sample of a kind is the first one again.
        most = PAIR if run.request.temperature == 0 else self._config.samples
        moves: tuple[Escalation, ...] = ()
        while True:
            pool = _Pool(Draw(tier, most, moves=moves), voter_of(run, self._parts.voter))
            await self._draw(run, pool)
            if pool.draw.done:
                return pool
            failure = pool.draw.failures[0]
            target = may_move(run, tier, failure, moves)
            if target is None:
                raise failure
            moves = (*moves, move(run, tier, target, failure))
            tier = target

    async def _draw(self, run: Run, pool: _Pool) -> None:
        draw = pool.draw
        async with Fanout() as fanout:
            step, fruitful = Step(draw=PAIR), -1
            while step.stop is None:
                if step.draw and len(draw.done) > fruitful:
                    fruitful = len(draw.done)  # a wave of which nothing came is not repeated
                    await _begin(run, pool, fanout, step.draw)
                if not draw.live or not await self._arrived(run, pool, fanout):
                    break
                # At the deadline nothing is begun or settled, but what is ready still arrives.
                step = Step() if draw.stop == "deadline" else self._step(run, pool)
                draw.stop = step.stop or draw.stop
            draw.cancelled = await fanout.cancel()
            draw.unread |= fanout.unread
            draw.live = 0
            for call in draw.calls:
                run.ledger.release(call)  # what was cancelled before it began has spent nothing

    async def _arrived(self, run: Run, pool: _Pool, fanout: Fanout) -> bool:
        """Wait until a sample ends, run it if it is a program, and vote; False when time is up."""
        draw = pool.draw
        sample = await arrived(draw, fanout)
        if sample is None:
            return True
        try:
            pool.ballots.append(await self._ballot(run, pool, sample))
        except TimeoutError:
            note_late(draw)
            return False
        judged = await verdicts_of(run, pool.voter, pool.ballots)
        if judged.late:
            note_late(draw)
            return False
        ran = (pool.ran.get(sample.call_id) for sample in draw.done)
        draw.votes = tuple(map(_told, judged.verdicts, ran))
        return True

    async def _ballot(self, run: Run, pool: _Pool, sample: Completion) -> Completion:
        sandbox = self._parts.sandbox
        if sample.call_id not in pool.programs or sandbox is None:
            return sample
        ran = await printed(run, sandbox, sample.content, wall_s=self._config.wall_s)
        pool.ran[sample.call_id] = ran
        pool.lost = pool.lost or ran.lost
        return ballot(sample, ran)

    def _step(self, run: Run, pool: _Pool) -> Step:
        """Stop on an agreeing pair, else by the Beta criterion, else draw to its boundary."""
        draw = pool.draw
        leader, runner_up = leading_votes(draw.answers)
        if len(draw.calls) == PAIR and leader == PAIR and pool.programs:
            return Step(stop="verified")
        level = self._config.level
        unknown = draw.live + draw.most - len(draw.calls)
        lossless = unknown > 0 and lossless_settled(leader, runner_up, unknown)
        if beta_settled(leader, runner_up, level) or lossless:
            return Step(stop="settled")
        if draw.live:
            return Step()
        if self._config.escalate and not pool.lost:
            larger, before = higher(run, draw.tier), run.ledger.exhausted
            if larger is not None:
                if run.affords(larger):
                    return Step(stop="escalated")
                pool.missed, run.ledger.exhausted = run.ledger.exhausted, before
        return Step(draw=min(votes_needed(runner_up, level) - leader, draw.most - len(draw.calls)))

    def _best(self, pool: _Pool) -> Completion:
        """Return a sample with the most votes, one that reasons where there is one."""
        draw = pool.draw

        def rank(index: int) -> tuple[float, bool, int]:
            vote, sample = draw.votes[index], draw.done[index]
            score = 0.0 if vote.abstained else vote.score
            return score, sample.call_id not in pool.programs, -index

        return draw.done[max(range(len(draw.done)), key=rank)]


async def _begin(run: Run, pool: _Pool, fanout: Fanout, wanted: int) -> None:
    """Begin up to `wanted` samples, the first with a probe's stream where it is of this tier.

    Raises:
        BudgetExhausted: Not a single sample fits and there is none yet.
    """
    draw = pool.draw
    draw.earlier = len(draw.calls)
    head = await taken_head(run, draw.tier)
    if head is not None:
        shares = min(draw.most, run.ledger.calls_left + 1)
        first = shrunk(run.ledger, head.call, shares)
        draw.calls.append(first)
        fanout.start(first.id, continued(head, first, draw.tier))
        wanted -= 1
    for _ in range(wanted):
        call = _reserved(run, pool)
        if call is None:
            draw.stop = cut_by(run.ledger.exhausted)
            break
        draw.calls.append(call)
        fanout.start(call.id, draw.tier.backend.stream(call))
    draw.live = fanout.live
    if not draw.calls:
        raise BudgetExhausted(run.ledger.exhausted or "max_calls")


def _reserved(run: Run, pool: _Pool) -> Call | None:
    """Reserve the next sample with its share of what is left, None if the budget holds none."""
    draw = pool.draw
    programs = pool.programs_next
    request = with_line(run.request, PROGRAM_LINE) if programs else run.request
    number = len(draw.calls)
    room = run.ledger.room(draw.tier.name, request, draw.most - number, first=number)
    call = next_sample(run, draw.tier, room, request=request, sample=number)
    if call is not None and programs:
        pool.programs.add(call.id)
    return call


def _told(vote: Verdict, ran: Printed | None) -> Verdict:
    """Add to a vote what became of the program it comes from."""
    return vote if ran is None else replace(vote, reason=f"{ran.reason}; {vote.reason}"[:300])
