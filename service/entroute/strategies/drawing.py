"""Draws samples of one tier in waves until a stopping rule has seen enough.

Every sample is one streamed upstream request, so that those no longer needed are cancelled one by
one. A wave is reserved before it starts; what the budget does not hold is not drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from entroute.errors import BudgetExhausted, DeadlineExceeded, Limit
from entroute.evidence import Escalation, StopReason, Verdict
from entroute.ledger import cut_off
from entroute.protocols import Run, Tier, Verifier
from entroute.strategies.base import continued, may_move, move, taken_head
from entroute.strategies.fanout import Arrival, Failure, Fanout
from entroute.strategies.judging import LATE, verdicts_of
from entroute.strategies.reserving import Reserver, Wave
from entroute.types import Call, ChatRequest, Completion, Delta


@dataclass(frozen=True, slots=True)
class Step:
    """What a stopping rule wants next.

    Attributes:
        draw: Samples to begin now; 0 waits for those that are open, and ends where none is.
        stop: Why no more is needed, or None.
        answer: The canonical answer that won, where it need not be the majority's.
    """

    draw: int = 0
    stop: StopReason | None = None
    answer: str | None = None


@dataclass(slots=True)
class Draw:
    """The samples of one tier: what was asked, what came, what was not needed.

    Attributes:
        tier: Where they come from.
        most: Samples that the rule would draw at most.
        calls: Every sample begun, in order.
        earlier: How many of them were begun before the latest wave.
        done: Finished samples in the order of completion.
        votes: One for each of `done`, same order.
        failures: What the others died of, in order.
        failed: Ids of the calls that did.
        unread: Ids of the calls that ended when nobody needed them any more.
        live: Samples that are open now, those held back among them.
        held: Samples reserved but not begun: what earlier runs have made is looked at first.
        cancelled: Samples cut off because nobody needed them.
        moves: Tiers that failed before, in order.
        stop: Why it ended.
        unjudged: The limit that kept a sample from being judged, or None.
        answer: The answer that the rule chose, None to leave it to the scores.
    """

    tier: Tier
    most: int
    calls: list[Call] = field(default_factory=list)
    earlier: int = 0
    done: list[Completion] = field(default_factory=list)
    votes: tuple[Verdict, ...] = ()
    failures: list[Failure] = field(default_factory=list)
    failed: set[int] = field(default_factory=set)
    unread: set[int] = field(default_factory=set)
    live: int = 0
    held: list[Call] = field(default_factory=list)
    cancelled: int = 0
    moves: tuple[Escalation, ...] = ()
    stop: StopReason = "exhausted"
    unjudged: Limit | None = None
    answer: str | None = None

    @property
    def cut(self) -> frozenset[int]:
        """Ids of the finished samples that the budget cut off: their vote may be lost."""
        calls = {call.id: call for call in self.calls}
        return frozenset(
            sample.call_id
            for sample in self.done
            if sample.call_id in calls and cut_off(calls[sample.call_id], sample)
        )

    @property
    def answers(self) -> tuple[str | None, ...]:
        """The canonical answers of `done`, None where none can be read."""
        return tuple(vote.answer for vote in self.votes)


class StoppingRule(Protocol):
    """Says how many samples to draw, looking at those that are finished."""

    @property
    def most(self) -> int:
        """Samples at most, at least 1."""
        ...

    def step(self, draw: Draw) -> Step:
        """Return what to do next; asked at the start and whenever a sample ends."""
        ...


@dataclass(frozen=True, slots=True)
class Manner:
    """How samples are drawn.

    Attributes:
        rule: When to stop.
        voter: Gives each finished sample its canonical answer.
        top_logprobs: Alternatives a token to ask for, None for what the client asked.
        request: What is asked where it is not the client's request itself.
        judging: Model calls that judging a sample takes at most, beside the voter's.
    """

    rule: StoppingRule
    voter: Verifier
    top_logprobs: int | None = None
    request: ChatRequest | None = None
    judging: int = 0

    @property
    def calls(self) -> int:
        """Model calls to keep back for each sample."""
        return self.voter.calls + self.judging


async def drawn(run: Run, tier: Tier, manner: Manner) -> Draw:
    """Draw on `tier`, or on another one if not a single sample of it arrives.

    Raises:
        CallFailed, WorkerRejected, BudgetExhausted, DeadlineExceeded: No tier gave a sample.
    """
    moves: tuple[Escalation, ...] = ()
    while True:
        draw = Draw(tier, manner.rule.most, moves=moves)
        await _draw(run, draw, manner)
        if draw.done:
            return draw
        failure = draw.failures[0]
        target = may_move(run, tier, failure, moves)
        if target is None:
            raise failure
        moves = (*moves, move(run, tier, target, failure))
        tier = target


async def drawn_on(run: Run, draw: Draw, manner: Manner) -> None:
    """Draw on, to a draw that ended, until another rule has seen enough."""
    draw.stop, draw.answer = "exhausted", None
    await _draw(run, draw, manner)


async def _draw(run: Run, draw: Draw, manner: Manner) -> None:
    reserver = Reserver(
        run, draw.tier, manner.calls, run.ledger.exhausted, manner.top_logprobs, manner.request
    )
    async with Fanout() as fanout:
        fruitful = -1
        while True:
            # At the deadline nothing is begun or settled, but what is ready still arrives.
            step = Step() if draw.stop == "deadline" else manner.rule.step(draw)
            if step.stop is not None:
                draw.stop, draw.answer = step.stop, step.answer
                break
            if step.draw and (draw.live or len(draw.done) > fruitful):
                fruitful = len(draw.done)  # a wave of which nothing came is not repeated
                await _begin(draw, reserver, fanout, step.draw)
            if not fanout.live and draw.stop != "deadline":
                _let_go(draw, fanout)
            if not fanout.live:
                break
            if not await _arrived(run, draw, manner, fanout):
                break
        draw.cancelled += await fanout.cancel()
        draw.unread |= fanout.unread
        draw.live, draw.held = 0, []
        for call in draw.calls:
            run.ledger.release(call)  # what was cancelled before it began has spent nothing


async def _begin(draw: Draw, reserver: Reserver, fanout: Fanout, wanted: int) -> None:
    """Begin up to `wanted` samples, the first with a probe's stream where it is of this tier.

    Raises:
        BudgetExhausted: Not a single sample fits and there is none yet.
    """
    run = reserver.run
    begun = draw.earlier = len(draw.calls)
    head = await taken_head(run, draw.tier if reserver.request is None else None)
    wave = Wave(
        samples=wanted,
        most=draw.most - begun,
        begun=begun,
        owed=reserver.judging * draw.live,
        head=None if head is None else head.call,
    )
    reserved = reserver.reserve(wave)
    if reserved.cut is not None:
        draw.stop = reserved.cut
    elif draw.stop == "budget":
        draw.stop = "exhausted"  # what the budget did not hold before was drawn now
    draw.calls.extend(reserved.calls)
    if not draw.calls:
        raise BudgetExhausted(run.ledger.exhausted or "max_calls")
    kept = [call for call in reserved.calls if run.ledger.gives(call)]
    for call in reserved.calls:
        if head is not None and call.id == head.call.id:
            fanout.start(call.id, continued(head, call, draw.tier))
        elif kept and call not in kept and reserver.judging == 0:
            draw.held.append(call)  # what is kept may settle it, and comes at once
        else:
            fanout.start(call.id, draw.tier.backend.stream(call))
    draw.live = fanout.live + len(draw.held)


def _let_go(draw: Draw, fanout: Fanout) -> None:
    """Begin what was held back: what was kept has not settled it."""
    for call in draw.held:
        fanout.start(call.id, draw.tier.backend.stream(call))
    draw.held = []


async def _arrived(run: Run, draw: Draw, manner: Manner, fanout: Fanout) -> bool:
    """Wait until a sample ends and compare it with the others; False when time is up."""
    before = len(draw.done)
    await arrived(draw, fanout)
    if not manner.voter.compares:
        # Judged alone, those that ended meanwhile are judged at once; a vote looks at every one.
        while (piece := await fanout.ready()) is not None:
            _note(draw, fanout, *piece)
    if len(draw.done) == before:
        return True
    return await judge_together(run, draw, manner.voter, manner.request)


async def judge_together(
    run: Run, draw: Draw, judge: Verifier, request: ChatRequest | None = None
) -> bool:
    """Judge all samples of a draw; False where time is up, and what is known must do."""
    judged = await verdicts_of(run, judge, draw.done, request)
    draw.unjudged = judged.limit or draw.unjudged
    if judged.late:
        note_late(draw)
    draw.votes = judged.verdicts or draw.votes
    return not judged.late


async def arrived(draw: Draw, fanout: Fanout) -> Completion | None:
    """Wait until a sample ends and note it; None where it failed."""
    while True:
        key, arrival = await fanout.next()
        if not isinstance(arrival, Delta):
            _note(draw, fanout, key, arrival)
            return arrival if isinstance(arrival, Completion) else None


def _note(draw: Draw, fanout: Fanout, key: int, arrival: Arrival) -> None:
    draw.live = fanout.live + len(draw.held)
    if isinstance(arrival, Completion):
        draw.done.append(arrival)
    elif not isinstance(arrival, Delta):
        draw.failures.append(arrival)
        draw.failed.add(key)
        if isinstance(arrival, DeadlineExceeded):
            draw.stop = "deadline"


def note_late(draw: Draw) -> None:
    """Note that the deadline passed before the latest samples were judged."""
    draw.stop = "deadline"
    draw.votes += (LATE,) * (len(draw.done) - len(draw.votes))


def mark_chosen(run: Run, draws: Sequence[Draw], chosen: Completion) -> None:
    """Say in the ledger which sample is the answer and which were discarded unfinished."""
    for draw in draws:
        finished = {sample.call_id for sample in draw.done}
        for call in draw.calls:
            if call.id not in finished:
                run.ledger.mark(call, "discarded")
            elif call.id == chosen.call_id:
                run.ledger.mark(call, "answer")
