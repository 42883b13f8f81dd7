"""`program_first`: one short program, executed; a reasoned answer only where it prints none."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.errors import BudgetExhausted, CallFailed, DeadlineExceeded, WorkerRejected
from entroute.evidence import Escalation, Outcome, Refusal, StopReason, Verdict, cut_by
from entroute.protocols import Run, Sandbox, Verifier
from entroute.strategies.climbing import Climb, climb_outcome, ending, higher, raised
from entroute.strategies.drawing import Draw, Manner, drawn
from entroute.strategies.parts import StrategyParts
from entroute.strategies.plain import one_sample, plain_outcome
from entroute.strategies.programs import (
    PROGRAM_LINE,
    Printed,
    ballot,
    printed,
    refuse_rewritten,
    spoken,
)
from entroute.strategies.prompting import with_line
from entroute.strategies.refusals import (
    need_sandbox,
    refuse_choices,
    refuse_tools,
    refuse_verifier,
)
from entroute.strategies.self_consistency import FixedRule
from entroute.types import ChatRequest, Completion


class ProgramFirstConfig(BaseModel):
    """Run one short program; reason a tier higher where it prints no single value."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["program_first"] = "program_first"
    confirm: bool = Field(
        default=False, description="Whether a second program must print the same value."
    )
    wall_s: float = Field(default=5.0, gt=0, le=60, description="Seconds that a program may run.")

    def build(self, parts: StrategyParts) -> "ProgramFirst":
        """Return the strategy."""
        return ProgramFirst(self, parts)


@dataclass(slots=True)
class ProgramVoter:
    """Reads the answer of a program's sample from what it prints, once a sample.

    A program votes only with a single line that can be read as an answer.

    Attributes:
        run: The request.
        sandbox: Where programs run.
        voter: Reads the printed value as an answer.
        wall_s: Seconds that a program may run.
        ran: What came of each sample's program, by call id.
    """

    run: Run
    sandbox: Sandbox
    voter: Verifier
    wall_s: float
    top_logprobs: int | None = None
    ran: dict[int, Printed] = field(default_factory=dict)

    @property
    def compares(self) -> bool:
        """See `Verifier.compares`."""
        return True

    @property
    def calls(self) -> int:
        """See `Verifier.calls`."""
        return 0

    @property
    def name(self) -> str:
        """See `Verifier.name`."""
        return "program"

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        """Run what is new, then vote. See `Verifier.score`."""
        for sample in candidates:
            if sample.call_id not in self.ran:
                ran = await printed(self.run, self.sandbox, sample.content, wall_s=self.wall_s)
                self.ran[sample.call_id] = ran
        ballots = [ballot(sample, self._alone(sample)) for sample in candidates]
        votes = await self.voter.score(self.run.request, ballots)
        return tuple(
            replace(vote, reason=self.ran[sample.call_id].reason)
            for vote, sample in zip(votes, candidates, strict=True)
        )

    def _alone(self, sample: Completion) -> Printed:
        ran = self.ran[sample.call_id]
        return ran if ran.alone else replace(ran, value=None)


class ProgramFirst:
    """Answers what one program printed; where that is no single value, one reasoned answer.

    The client asked for an answer, not for code: what a program printed is said in a sentence.
    With no room for a reasoned answer after the program, the request is answered plainly.

    Args:
        config: As configured.
        parts: Its voter reads answers, its sandbox runs programs.

    Source: program-aided reasoning, PAL (2211.10435); 2112.15594.
    """

    name = "program_first"

    def __init__(self, config: ProgramFirstConfig, parts: StrategyParts) -> None:
        self._config = config
        self._parts = parts

    def supports(self, run: Run) -> Refusal | None:
        """Refuse what a sentence cannot honour, verifiers, tools, and a server with no sandbox."""
        refusal = need_sandbox(self._parts.sandbox) or refuse_choices(run) or refuse_tools(run)
        return refusal or refuse_verifier(run) or refuse_rewritten(run)

    async def run(self, run: Run) -> Outcome:
        """Program, run, and reason only if that fails. See `Strategy.run`."""
        # At temperature 0 a second program is the first one again.
        programs = 2 if self._config.confirm and run.request.temperature != 0 else 1
        tier, asked = run.tier(run.decision.tier), with_line(run.request, PROGRAM_LINE)
        # One call is for the reasoned answer.
        if run.ledger.room(tier.name, asked, programs, spare=1) < programs:
            run.ledger.exhausted = "max_calls"
            return await plain_outcome(run, self.name, self._parts.voter, stop="budget")
        reader = self._reader(run)
        draw = await drawn(run, tier, Manner(FixedRule(programs), reader, request=asked))
        climb = Climb([draw], draw.moves, draw.stop)
        if len(draw.done) == programs and _agreed(draw):
            climb.stop = "settled"
        elif draw.stop != "deadline":
            await self._reason(run, climb)
        chosen = _chosen(climb)
        outcome = climb_outcome(run, self.name, reader.name, climb, chosen)
        answer = spoken(run.request, chosen, reader.ran.get(chosen.call_id))
        return replace(outcome, choices=(answer,))

    def _reader(self, run: Run) -> ProgramVoter:
        if self._parts.sandbox is None:
            raise RuntimeError("a request that is not supported was run")
        return ProgramVoter(run, self._parts.sandbox, self._parts.voter, self._config.wall_s)

    async def _reason(self, run: Run, climb: Climb) -> None:
        """Add one reasoned answer, of the next tier where it can be had, to what was drawn.

        A next tier that the budget does not hold is what cut the request short.
        """
        tier = climb.draws[0].tier
        larger = higher(run, tier)
        missed: StopReason = "exhausted"
        if larger is not None and not run.affords(larger):
            missed = cut_by(run.ledger.exhausted)
            larger = None
        for target in (tier,) if larger is None else (larger, tier):
            try:
                draw = await raised(run, target, one_sample(self._parts.voter))
            except (CallFailed, WorkerRejected, BudgetExhausted, DeadlineExceeded) as error:
                climb.failures.append(str(error))
                climb.stop = ending(run, target, error, climb.stop)
                continue
            climb.draws.append(draw)
            climb.stop = missed
            if target.name != tier.name:
                step = Escalation(tier.name, target.name, "rejected")
                climb.moves, climb.stop = (*climb.moves, step), "escalated"
            return


def _agreed(draw: Draw) -> bool:
    return len(set(draw.answers)) == 1 and draw.answers[0] is not None


def _chosen(climb: Climb) -> Completion:
    """Return the reasoned answer where there is one, else the first program that has a value."""
    if len(climb.draws) > 1:
        return climb.draws[-1].done[0]
    draw = climb.draws[0]
    valued = [s for s, vote in zip(draw.done, draw.votes, strict=True) if vote.answer is not None]
    return (valued or draw.done)[0]
