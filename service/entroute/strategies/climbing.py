"""Drawing on one tier after another until a sample is accepted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from entroute.errors import BudgetExhausted, CallFailed, DeadlineExceeded, WorkerRejected
from entroute.evidence import Escalation, Outcome, StopReason, Verdict, cut_by
from entroute.protocols import Run, Tier
from entroute.strategies.drawing import Draw, Manner, Step, drawn, mark_chosen
from entroute.strategies.saving import saved_tokens
from entroute.strategies.votes import stop_of
from entroute.types import Completion


@dataclass(frozen=True, slots=True)
class AcceptRule:
    """Draw wave by wave until a verdict accepts a sample.

    Attributes:
        most: Samples at most.
        waves: Sizes of the waves, the last one again and again.
        accept: Least score that accepts, in [0, 1]; an abstaining verdict never does.
        patience: Abstaining verdicts, and none other, after which nobody is judging.
    """

    most: int
    waves: tuple[int, ...] = (1,)
    accept: float = 1.0
    patience: int = 1

    def step(self, draw: Draw) -> Step:
        """See `StoppingRule.step`."""
        if any(accepts(vote, self.accept) for vote in draw.votes):
            return Step(stop="verified")
        if draw.live:
            return Step()
        if self.blind(draw):
            return Step(stop="exhausted")
        return Step(draw=min(self._wave(len(draw.calls)), self.most - len(draw.calls)))

    def blind(self, draw: Draw) -> bool:
        """Whether the judge abstains on everything it is shown."""
        enough = len(draw.votes) >= min(self.patience, self.most)
        return enough and all(vote.abstained for vote in draw.votes)

    def _wave(self, begun: int) -> int:
        for size in self.waves:
            if begun < size:
                return size - begun
            begun -= size
        return self.waves[-1]


def accepts(verdict: Verdict, accept: float = 1.0) -> bool:
    """Whether a verdict is one, and its score high enough."""
    return not verdict.abstained and verdict.score >= accept


@dataclass(slots=True)
class Climb:
    """The tiers that were asked, from the decided one upwards.

    Attributes:
        draws: Their samples, at least one draw with at least one sample.
        moves: From tier to tier, in order.
        stop: Why it ended; verified where a sample was accepted.
        blind: Whether the judge abstained on all that the last tier gave.
        failures: What tiers died of that left earlier samples standing.
    """

    draws: list[Draw] = field(default_factory=list)
    moves: tuple[Escalation, ...] = ()
    stop: StopReason = "exhausted"
    blind: bool = False
    failures: list[str] = field(default_factory=list)


def higher(run: Run, tier: Tier) -> Tier | None:
    """Return the tier to go up to; None where the client pinned one or none is left."""
    return None if run.pinned is not None else run.above(tier)


async def raised(run: Run, tier: Tier, manner: Manner) -> Draw:
    """Draw on a tier that a rejected answer went up to; it alone may answer.

    Raises:
        CallFailed, WorkerRejected, BudgetExhausted, DeadlineExceeded: It gave no sample.
    """
    # A pin keeps a failure from moving back to the tier whose answers were rejected.
    return await drawn(replace(run, pinned=tier.name, head=None), tier, manner)


async def climbed(run: Run, rule: AcceptRule, manner: Callable[[AcceptRule], Manner]) -> Climb:
    """Draw by `rule` on the decided tier, then on the next larger one, until one accepts.

    One sample and its judging are left for the next tier where there is one. A larger tier that
    fails leaves what was drawn before.

    Raises:
        CallFailed, WorkerRejected, BudgetExhausted, DeadlineExceeded: There is no sample at all.
    """
    climb = Climb()
    tier: Tier | None = run.tier(run.decision.tier)
    while tier is not None:
        fitted = _fitted(run, tier, rule, manner(rule))
        draw = await _next_draw(run, climb, tier, manner(fitted))
        if draw is not None:
            tier = draw.tier
            climb.blind = fitted.blind(draw)
            if draw.stop != "exhausted":
                climb.stop = draw.stop
            elif fitted.most < rule.most and not climb.blind:
                climb.stop, run.ledger.exhausted = "budget", "max_calls"
        if climb.blind or climb.stop in {"verified", "deadline"}:
            break
        tier = higher(run, tier)
        if tier is not None and not run.affords(tier):
            climb.stop = cut_by(run.ledger.exhausted)
            break
    return climb


def _fitted(run: Run, tier: Tier, rule: AcceptRule, manner: Manner) -> AcceptRule:
    """Return the rule for as many samples as there are calls for, their judging included."""
    begun = int(run.head is not None and run.head.tier == tier.name)
    spare = 1 + manner.calls if higher(run, tier) is not None else 0
    room = run.ledger.room(
        tier.name,
        manner.request or run.request,
        rule.most - begun,
        first=begun,
        top_logprobs=manner.top_logprobs,
        judging=manner.calls,
        spare=spare + begun * manner.calls,
    )
    return replace(rule, most=max(1, begun + room))


async def _next_draw(run: Run, climb: Climb, tier: Tier, manner: Manner) -> Draw | None:
    """Draw on a tier and note it; None where it failed and earlier samples stand."""
    if not climb.draws:
        draw = await drawn(run, tier, manner)
        climb.moves = draw.moves
        climb.draws.append(draw)
        return draw
    try:
        draw = await raised(run, tier, manner)
    except (CallFailed, WorkerRejected, BudgetExhausted, DeadlineExceeded) as error:
        climb.failures.append(str(error))
        climb.stop = ending(run, tier, error, climb.stop)
        return None
    step = Escalation(climb.draws[-1].tier.name, tier.name, "rejected")
    climb.moves = (*climb.moves, step)
    climb.draws.append(draw)
    return draw


async def answered_above(run: Run, climb: Climb, manner: Manner) -> Completion | None:
    """Have the next tier answer in the place of the last draw; None where that draw must do."""
    tier = climb.draws[-1].tier
    larger = higher(run, tier)
    if larger is None:
        return None
    try:
        draw = await raised(run, larger, manner)
    except (CallFailed, WorkerRejected, BudgetExhausted, DeadlineExceeded) as error:
        climb.failures.append(str(error))
        climb.stop = ending(run, larger, error, "exhausted")
        return None
    climb.moves = (*climb.moves, Escalation(tier.name, larger.name, "rejected"))
    climb.draws.append(draw)
    return draw.done[0]


def ending(run: Run, tier: Tier, error: Exception, before: StopReason) -> StopReason:
    """Say why a request ends whose larger tier failed; the tier is noted where it is at fault."""
    if isinstance(error, DeadlineExceeded):
        return "deadline"
    if isinstance(error, BudgetExhausted):
        return cut_by(error.limit)
    run.trace.degrade(f"tier:{tier.name}")
    return before


def best_of(draws: Sequence[Draw]) -> Completion:
    """Return the sample of the best score, and so what was accepted; in a tie a later tier's."""
    ranked = [
        (0.0 if vote.abstained else vote.score, place, -i, sample)
        for place, draw in enumerate(draws)
        for i, (sample, vote) in enumerate(zip(draw.done, draw.votes, strict=True))
    ]
    return max(ranked, key=lambda entry: entry[:3])[3]


def climb_outcome(
    run: Run, strategy: str, verifier: str, climb: Climb, chosen: Completion
) -> Outcome:
    """Return the outcome of samples of one tier or several, of which one is the answer."""
    mark_chosen(run, climb.draws, chosen)
    saved: dict[str, int] = {}
    for draw in climb.draws:
        for reason, tokens in saved_tokens(run, draw).items():
            saved[reason] = saved.get(reason, 0) + tokens
    failures = [str(failure) for draw in climb.draws for failure in draw.failures]
    return Outcome(
        choices=(chosen,),
        strategy=strategy,
        stop_reason=stop_of(run, climb.draws, climb.stop),
        candidates=tuple(sample for draw in climb.draws for sample in draw.done),
        verdicts=tuple(vote for draw in climb.draws for vote in draw.votes),
        verifier=verifier,
        escalations=climb.moves,
        cancelled=sum(draw.cancelled for draw in climb.draws),
        failures=(*failures, *climb.failures),
        saved=saved,
    )
