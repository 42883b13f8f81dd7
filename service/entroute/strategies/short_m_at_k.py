"""`short_m_at_k`: several samples that think, a vote over the first few to finish."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from entroute.errors import WorkerRejected
from entroute.evidence import Outcome, Refusal
from entroute.protocols import Run, Verifier
from entroute.strategies.drawing import Draw, Manner, Step, drawn
from entroute.strategies.parts import StrategyParts
from entroute.strategies.refusals import refuse_choices, refuse_cold
from entroute.strategies.votes import refuse_judge, vote_outcome, voter_of
from entroute.types import ChatRequest, Completion

BUDGET_FIELD = "thinking_token_budget"
"""vLLM's field at the top of a chat or text request; refused there without a reasoning parser."""

LEAST_BUDGET = 64
"""Tokens: less is no thought."""


class ShortMAtKConfig(BaseModel):
    """Majority vote over the first samples to finish."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["short_m_at_k"] = "short_m_at_k"
    k: int = Field(default=5, ge=2, le=64, description="Samples begun.")
    m: int = Field(
        default=3, ge=1, le=64, description="Samples waited for, at most k; they have the vote."
    )
    thinking_budget: int | None = Field(
        default=None,
        ge=LEAST_BUDGET,
        description="Most tokens a sample may think, sent as vLLM's thinking_token_budget; a "
        "client's own stands instead.",
    )
    budget_by_difficulty: bool = Field(
        default=False,
        description="Send max(64, difficulty * thinking_budget) where the difficulty is known.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.m > self.k:
            raise ValueError(f"m is {self.m}: wait for at most the k = {self.k} samples begun")
        if self.budget_by_difficulty and self.thinking_budget is None:
            raise ValueError("budget_by_difficulty scales thinking_budget: set that too")
        return self

    def build(self, parts: StrategyParts) -> "ShortMAtK":
        """Return the strategy."""
        rule, budget = FirstToFinish(self.k, self.m), None
        if self.thinking_budget is not None:
            budget = ThinkingBudget(self.thinking_budget, by_difficulty=self.budget_by_difficulty)
        return ShortMAtK(rule, parts, budget)


@dataclass(frozen=True, slots=True)
class FirstToFinish:
    """Draw everything at once; stop when so many have finished.

    Attributes:
        most: Samples begun, k.
        wanted: Finished samples that are enough, m.
    """

    most: int
    wanted: int

    def step(self, draw: Draw) -> Step:
        """See `StoppingRule.step`."""
        if not draw.calls:
            return Step(draw=self.most)
        if draw.live and len(self.first(draw.done)) >= self.wanted:
            # The first of fewer samples than wanted are a choice that the budget has cut.
            return Step(stop="settled" if len(draw.calls) == self.most else "budget")
        return Step()

    def first(self, done: Sequence[Completion]) -> list[Completion]:
        """Return what has finished, as if kept samples were drawn beside the others.

        A kept one arrives at once, however long it is: while others run, it has finished only
        when one as long has.
        """
        longest = max((c.usage.completion_tokens for c in done if not c.resumed), default=0)
        return [c for c in done if not c.resumed or c.usage.completion_tokens <= longest]


@dataclass(frozen=True, slots=True)
class ThinkingBudget:
    """How long a sample may think.

    Attributes:
        tokens: At most, at least 64.
        by_difficulty: Whether an easier prompt gets less.
    """

    tokens: int
    by_difficulty: bool = False

    def of(self, run: Run) -> int:
        """Return the tokens for one request: max(64, d * tokens), d its difficulty in [0, 1].

        All of them where the difficulty is not known. Linear, as accuracy falls with the length
        of a chain at equal difficulty (2502.15631) and lengths grow with difficulty.
        """
        estimate = run.trace.estimate
        difficulty = estimate.difficulty if estimate is not None and self.by_difficulty else None
        if difficulty is None:
            return self.tokens
        return max(LEAST_BUDGET, round(difficulty * self.tokens))


class ShortMAtK:
    """Draws k samples and votes over the first m to finish; the rest is cancelled.

    Ties, and samples that give one answer, go to the shortest. Candidates are listed shortest
    first.

    Args:
        rule: How many to begin and to wait for.
        parts: Its voter gives each candidate its canonical answer; one without has no vote.
        budget: How long a sample may think, None to leave it to client and worker.

    Source: short-m@k (2505.17813): shorter chains of thought are the likelier right ones.
    """

    name = "short_m_at_k"

    def __init__(
        self, rule: FirstToFinish, parts: StrategyParts, budget: ThinkingBudget | None = None
    ) -> None:
        self._rule = rule
        self._voter = parts.voter
        self._budget = budget

    def supports(self, run: Run) -> Refusal | None:
        """Refuse several choices, temperature 0 and weights that come after the vote."""
        return refuse_choices(run) or refuse_cold(run) or refuse_judge(run)

    async def run(self, run: Run) -> Outcome:
        """Draw, vote over the first to finish. See `Strategy.run`."""
        voter = voter_of(run, self._voter)
        draw = await self._drawn(run, voter)
        order = sorted(range(len(draw.done)), key=lambda i: draw.done[i].usage.completion_tokens)
        if any(sample.resumed for sample in draw.done):
            order = order[: self._rule.wanted]
        draw.votes = tuple(draw.votes[i] for i in order)
        draw.done = [draw.done[i] for i in order]
        return vote_outcome(run, self.name, draw, draw.votes, voter.name)

    async def _drawn(self, run: Run, voter: Verifier) -> Draw:
        """Draw with the thinking budget, without it where the tier's workers know none."""
        tier = run.tier(run.decision.tier)
        budgeted = self._budgeted(run)
        try:
            return await drawn(run, tier, Manner(self._rule, voter, request=budgeted))
        except WorkerRejected as error:
            if budgeted is None or BUDGET_FIELD not in f"{error.param} {error.message}":
                raise
        run.trace.degrade("thinking_budget")
        return await drawn(run, tier, Manner(self._rule, voter))

    def _budgeted(self, run: Run) -> ChatRequest | None:
        """Return the request with a thinking budget, None where none is to be added."""
        asked = run.request
        if self._budget is None or BUDGET_FIELD in asked.extra:
            return None
        extra = {**asked.extra, BUDGET_FIELD: self._budget.of(run)}
        return replace(asked, extra=extra)
