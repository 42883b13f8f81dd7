"""`self_refine`: attempts that revise the ones before them, in one chain or several."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.evidence import Outcome, Refusal, Verdict
from entroute.protocols import Run
from entroute.strategies.drawing import judge_together
from entroute.strategies.judging import as_they_come, silenced
from entroute.strategies.parts import StrategyParts
from entroute.strategies.refusals import refuse_choices, refuse_cold, refuse_tools
from entroute.strategies.revising import Plan, Refining, refined
from entroute.strategies.votes import draw_outcome, judge_of, voter_of


class SelfRefineConfig(BaseModel):
    """Chains of revisions, the best or the commonest answer of all attempts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["self_refine"] = "self_refine"
    chains: int = Field(default=1, ge=1, le=16, description="Chains side by side.")
    rounds: int = Field(
        default=4,
        ge=2,
        le=8,
        description="Attempts of a chain, one after another; all but the first are revisions.",
    )

    def build(self, parts: StrategyParts) -> "SelfRefine":
        """Return the strategy."""
        return SelfRefine(self.chains, self.rounds, parts)


class SelfRefine:
    """Spends chains x rounds attempts: rounds deepen an answer, chains begin others.

    With a verifier in the request the best score wins, and a score of 1 ends everything. Without,
    or where it abstains on all, the majority of canonical answers over all attempts wins, and
    what cannot change it is not made. Ties go to the latest revision of the first chain.

    Args:
        chains: Chains side by side.
        rounds: Attempts of a chain.
        parts: Its voter gives each attempt its canonical answer; one without has no vote.

    Source: sequential revisions mixed with parallel samples (2408.03314), section 6.
    """

    name = "self_refine"

    def __init__(self, chains: int, rounds: int, parts: StrategyParts) -> None:
        self._chains = chains
        self._rounds = rounds
        self._voter = parts.voter

    def supports(self, run: Run) -> Refusal | None:
        """Refuse several choices, tools, text completions; temperature 0 with several chains."""
        return (
            refuse_choices(run)
            or refuse_tools(run)
            or _refuse_text(run)
            or (refuse_cold(run) if self._chains > 1 else None)
        )

    async def run(self, run: Run) -> Outcome:
        """Attempt, revise, choose. See `Strategy.run`."""
        voter, judge = voter_of(run, self._voter), judge_of(run)
        asked = voter if judge is None else as_they_come(judge)
        plan = Plan(self._chains, self._rounds, asked, votes=judge is None)
        refining = await refined(run, run.tier(run.decision.tier), plan)
        draw = refining.draw
        if judge is not None and judge.compares:
            await judge_together(run, draw, judge)
        by = judge or voter
        if judge is not None and all(verdict.abstained for verdict in draw.votes):
            run.trace.degrade("verifier")
            await judge_together(run, draw, voter)
            by = voter
        verdicts = silenced(draw.votes)
        chosen = draw.done[_best(refining, verdicts)]
        return draw_outcome(run, self.name, draw, verdicts, by.name, chosen=chosen)


def _best(refining: Refining, verdicts: Sequence[Verdict]) -> int:
    """Return the attempt with the best score, of several the latest of the first chain."""

    def rank(i: int) -> tuple[float, int, int]:
        chain, place = refining.places[refining.draw.done[i].call_id]
        return verdicts[i].score, -chain, place

    return max(range(len(verdicts)), key=rank)


def _refuse_text(run: Run) -> Refusal | None:
    """Refuse a text completion: a revision is a turn of a chat."""
    text = run.request.prompt is not None
    return (
        Refusal("prompt", "it revises turns of a chat; ask for a chat completion") if text else None
    )
