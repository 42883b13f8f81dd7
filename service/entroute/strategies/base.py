"""What several strategies share: reading one's own stream, and answering when a tier fails."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from entroute.calls import CallStream, Head, spent_with
from entroute.errors import CallFailed, DeadlineExceeded, WorkerRejected
from entroute.evidence import Escalation, Outcome
from entroute.folding import merge_extra
from entroute.protocols import OutcomeStream, Run, Tier
from entroute.spending import Usage
from entroute.strategies.fanout import Failure
from entroute.types import Call, Completion, Delta


async def outcome_of(stream: OutcomeStream) -> Outcome:
    """Read a strategy's stream to its end, for clients that did not ask for one.

    Raises:
        RuntimeError: The strategy ended without an outcome.
    """
    async with aclosing(stream) as items:
        async for item in items:
            if isinstance(item, Outcome):
                return item
    raise RuntimeError("a strategy ended without an outcome")


def may_move(run: Run, tier: Tier, error: Failure, moves: Sequence[Escalation]) -> Tier | None:
    """Return the tier that may answer after `error` on `tier`, or None if the error stands.

    What one worker rejects every worker rejects, except a prompt that is too long for it: only
    a larger tier can hold that. A tier that `moves` left because it failed is not tried again.
    An error stands, too, where time is up or the budget holds no other answer.
    """
    if isinstance(error, DeadlineExceeded):
        return None
    targets = run.substitutes(tier)
    if isinstance(error, WorkerRejected):
        larger = run.above(tier) if error.out_of_context else None
        targets = tuple(t for t in targets if t == larger)
    gone = unreachable(moves)
    return next((t for t in targets if t.name not in gone and run.affords(t)), None)


def move(run: Run, tier: Tier, target: Tier, error: Failure) -> Escalation:
    """Note that `target` answers in place of `tier`."""
    if isinstance(error, WorkerRejected):
        return Escalation(tier.name, target.name, "context")
    run.trace.degrade(f"tier:{tier.name}")
    return Escalation(tier.name, target.name, "unavailable")


def unreachable(moves: Sequence[Escalation]) -> set[str]:
    """Return the tiers that were left because they failed, not because they were unsure."""
    return {move.source for move in moves if move.reason != "unsure"}


@dataclass(slots=True)
class Opened:
    """A call whose first piece has arrived.

    Attributes:
        tier: Tier that answers.
        call: The call.
        first: Its first piece.
        rest: What follows; empty when `first` is the completion.
        moves: Tiers that were tried before, in order.
        cut: Whether the budget held only this tier's answer and not the wanted one's.
    """

    tier: Tier
    call: Call
    first: Delta | Completion
    rest: CallStream
    moves: tuple[Escalation, ...] = field(default=())
    cut: bool = False

    async def pieces(self) -> CallStream:
        """Yield the first piece and all that follows."""
        async with aclosing(self.rest):
            yield self.first
            async for piece in self.rest:
                yield piece


async def open_answer(
    run: Run, tier: Tier, *, top_logprobs: int | None = None, tried: Sequence[Escalation] = ()
) -> Opened:
    """Open the answer on `tier` and wait for its first piece, on another tier if that fails.

    Raises:
        CallFailed, WorkerRejected, BudgetExhausted, DeadlineExceeded: No tier can answer.
    """
    opened, call, stream = await _opened(run, tier, top_logprobs)
    try:
        first = await anext(stream)
    except (CallFailed, WorkerRejected) as error:
        target = may_move(run, opened, error, tried)
        if target is None:
            raise
        moves = (*tried, move(run, opened, target, error))
        return await open_answer(run, target, top_logprobs=top_logprobs, tried=moves)
    except BaseException:
        await stream.aclose()
        raise
    return Opened(opened, call, first, stream, tuple(tried), cut=opened.name != tier.name)


async def _opened(run: Run, tier: Tier, top_logprobs: int | None) -> tuple[Tier, Call, CallStream]:
    """Begin the answer on `tier`, going on with a probe's stream where there is one.

    A probe of another tier is cancelled, unless what is left beside it does not hold a call on
    `tier`: then the probe's tier answers. Returns the tier that does.

    Raises:
        BudgetExhausted: The worst case does not fit into what is left.
    """
    head, run.head = run.head, None
    if head is not None:
        if head.tier == tier.name or not run.affords(tier, without=head.call):
            run.ledger.mark(head.call, "answer")
            return run.tier(head.tier), head.call, head.stream()
        await head.close()
    call = run.reserve(tier, "answer", top_logprobs=top_logprobs)
    return tier, call, tier.backend.stream(call)


async def taken_head(run: Run, tier: Tier | None) -> Head | None:
    """Take a probe's stream as a sample of `tier`; one of another tier is cancelled."""
    head, run.head = run.head, None
    if head is None:
        return None
    if tier is None or head.tier != tier.name:
        await head.close()
        return None
    run.ledger.mark(head.call, "sample")
    return head


def continued(head: Head, call: Call, tier: Tier) -> CallStream:
    """Go on with a begun stream up to its call's cap of now.

    A piece of several tokens may go over a lowered cap by all but one of them.

    Args:
        head: What was begun.
        call: Its call, as `Ledger.shrink` returned it.
        tier: Where it runs.
    """
    return head.stream() if call == head.call else _ended_at_cap(head.stream(), call, tier)


async def _ended_at_cap(stream: CallStream, call: Call, tier: Tier) -> CallStream:
    """Pass a stream on, and end it as its worker would had it known the cap."""
    made: list[Delta] = []
    spent = Usage(calls=1, partial_calls=1)
    async with aclosing(stream):
        while call.max_tokens is None or spent.completion_tokens < call.max_tokens:
            item = await anext(stream)
            yield item
            if isinstance(item, Completion):
                return
            made.append(item)
            spent = spent_with(spent, item)
    yield _cut_short(made, spent, call, tier)


def _cut_short(made: Sequence[Delta], spent: Usage, call: Call, tier: Tier) -> Completion:
    extra: dict[str, Any] = {}
    for piece in made:
        merge_extra(extra, piece.extra)
    return Completion(
        content="".join(piece.content for piece in made),
        finish_reason="length",
        usage=spent,
        tier=tier.name,
        model=tier.model,
        extra=extra,
        logprobs=tuple(token for piece in made for token in piece.logprobs),
        call_id=call.id,
    )


def until_deadline(run: Run) -> asyncio.Timeout:
    """Return a context that raises TimeoutError at the request's deadline."""
    return asyncio.timeout(max(0.0, run.ledger.budget.deadline - run.clock()))
