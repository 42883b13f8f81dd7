"""Draws samples of one tier in waves until a stopping rule has seen enough.

Every sample is one streamed upstream request, so that those no longer needed are cancelled one by
one. A wave is reserved before it starts; what the budget does not hold is not drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from entroute.errors import BudgetExhausted, DeadlineExceeded
from entroute.evidence import Escalation, StopReason, Verdict
from entroute.protocols import Run, Tier, Verifier
from entroute.strategies.base import may_move, move, until_deadline
from entroute.strategies.fanout import Failure, Fanout
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
        live: Samples that are open now.
        cancelled: Samples cut off because nobody needed them.
        moves: Tiers that failed before, in order.
        stop: Why it ended.
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
    live: int = 0
    cancelled: int = 0
    moves: tuple[Escalation, ...] = ()
    stop: StopReason = "exhausted"
    answer: str | None = None

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
    """

    rule: StoppingRule
    voter: Verifier
    top_logprobs: int | None = None
    request: ChatRequest | None = None


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


async def _draw(run: Run, draw: Draw, manner: Manner) -> None:
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
                await _begin(run, draw, manner, fanout, step.draw)
            if not draw.live:
                break
            if not await _arrived(run, draw, manner, fanout):
                break
        draw.cancelled = await fanout.cancel()
        draw.live = 0
        for call in draw.calls:
            run.ledger.release(call)  # what was cancelled before it began has spent nothing


async def _begin(run: Run, draw: Draw, manner: Manner, fanout: Fanout, wanted: int) -> None:
    """Begin up to `wanted` samples, the first with a probe's stream where it is of this tier.

    Raises:
        BudgetExhausted: Not a single sample fits and there is none yet.
    """
    draw.earlier = len(draw.calls)
    head, run.head = run.head, None
    if head is not None and head.tier == draw.tier.name and manner.request is None:
        run.ledger.mark(head.call, "sample")
        draw.calls.append(head.call)
        fanout.start(head.call.id, head.stream())
        wanted -= 1
    elif head is not None:
        await head.close()
    for call in _reserved_wave(run, draw, manner, wanted):
        draw.calls.append(call)
        fanout.start(call.id, draw.tier.backend.stream(call))
    draw.live = fanout.live


def _reserved_wave(run: Run, draw: Draw, manner: Manner, wanted: int) -> list[Call]:
    """Reserve `wanted` samples, fewer if the budget holds no more, and leave room for the rest.

    Raises:
        BudgetExhausted: Not a single sample fits and there is none yet.
    """
    before = run.ledger.exhausted
    left = draw.most - len(draw.calls)
    room = min(left, run.ledger.calls_left)
    if room < min(wanted, left):
        run.ledger.exhausted = "max_calls"
    while wanted > 0:
        if room < 1:
            draw.stop = "budget"
            if draw.calls:
                return []
            raise BudgetExhausted(run.ledger.exhausted or "max_calls")
        try:
            calls = _reserved(run, draw, manner, min(wanted, room), room)
        except BudgetExhausted:
            room -= 1
        else:
            if room < min(wanted, left):
                draw.stop = "budget"
            else:
                run.ledger.exhausted = before  # what was too much was room for later waves
            return calls
    return []


def _reserved(run: Run, draw: Draw, manner: Manner, samples: int, share: int) -> list[Call]:
    """Reserve so many calls, each with its share of what is left, or none.

    Raises:
        BudgetExhausted: The budget does not hold them all.
    """
    calls: list[Call] = []
    try:
        while (i := len(calls)) < samples:
            call = run.reserve(
                draw.tier,
                "sample",
                request=manner.request,
                sample=len(draw.calls) + i,
                share=share - i,
                top_logprobs=manner.top_logprobs,
            )
            calls.append(call)
    except BudgetExhausted:
        for call in calls:
            run.ledger.release(call)
        raise
    return calls


async def _arrived(run: Run, draw: Draw, manner: Manner, fanout: Fanout) -> bool:
    """Wait until a sample ends and compare it with the others; False when time is up."""
    if await arrived(draw, fanout) is None:
        return True
    try:
        async with until_deadline(run):
            draw.votes = await manner.voter.score(manner.request or run.request, draw.done)
    except TimeoutError:
        note_late(draw)
        return False
    return True


async def arrived(draw: Draw, fanout: Fanout) -> Completion | None:
    """Wait until a sample ends and note it; None where it failed."""
    while True:
        key, arrival = await fanout.next()
        if not isinstance(arrival, Delta):
            break
    draw.live = fanout.live
    if isinstance(arrival, Completion):
        draw.done.append(arrival)
        return arrival
    draw.failures.append(arrival)
    draw.failed.add(key)
    if isinstance(arrival, DeadlineExceeded):
        draw.stop = "deadline"
    return None


def note_late(draw: Draw) -> None:
    """Note that the deadline passed before the latest sample was compared with the others."""
    draw.stop = "deadline"
    late = Verdict(0.0, "not compared before the deadline", abstained=True)
    draw.votes = (*draw.votes, late)


def saved_tokens(run: Run, draw: Draw) -> dict[str, int]:
    """Estimate the completion tokens that stopping early saved, by reason.

    A sample that was cut off would have gone on to the mean length of the finished ones, and so
    would each sample that the rule allowed and nobody began.
    """
    if draw.stop not in {"settled", "confident", "verified"} or not draw.done:
        return {}
    mean = sum(sample.usage.completion_tokens for sample in draw.done) / len(draw.done)
    ended = {sample.call_id for sample in draw.done} | draw.failed
    open_calls = {call.id for call in draw.calls} - ended
    sent = [
        charge.usage.completion_tokens
        for charge in run.ledger.charges
        if charge.call_id in open_calls
    ]
    cancelled = sum(max(0.0, mean - tokens) for tokens in sent)
    undrawn = mean * (draw.most - len(draw.calls))
    saved = {"cancelled": round(cancelled), "undrawn": round(undrawn)}
    return {reason: tokens for reason, tokens in saved.items() if tokens}


def mark_chosen(run: Run, draws: Sequence[Draw], chosen: Completion) -> None:
    """Say in the ledger which sample is the answer and which were discarded unfinished."""
    for draw in draws:
        finished = {sample.call_id for sample in draw.done}
        for call in draw.calls:
            if call.id not in finished:
                run.ledger.mark(call, "discarded")
            elif call.id == chosen.call_id:
                run.ledger.mark(call, "answer")
