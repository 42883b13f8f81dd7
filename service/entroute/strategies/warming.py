"""One token asked of the tier that may be next, so that its prefix cache holds the prompt."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from entroute.errors import BudgetExhausted, CallFailed, DeadlineExceeded, WorkerRejected
from entroute.protocols import Run, Tier
from entroute.spending import Usage
from entroute.strategies.base import Opened
from entroute.types import Call, Delta


@asynccontextmanager
async def warmed(run: Run, tier: Tier | None, opened: Opened, window: int) -> AsyncIterator[None]:
    """Warm `tier` up while the block runs; what is not done at its end is cancelled.

    A worker keeps what it has read by then. Nobody waits for the warm-up, and nothing happens
    where there is no tier or the budget does not hold it beside an answer on that tier.

    Args:
        run: Of the request.
        tier: The tier that may be next, or None.
        opened: The call that a gate decides on, running.
        window: Tokens that call may send until the gate has decided.
    """
    call = None if tier is None else _reserved(run, tier, opened, window)
    if tier is None or call is None:
        yield
        return
    task = asyncio.create_task(_ask(tier, call))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        run.ledger.release(call)  # it was never sent where the block did not wait


async def _ask(tier: Tier, call: Call) -> None:
    try:
        await tier.backend.complete(call)
    except (CallFailed, WorkerRejected, DeadlineExceeded):
        return  # the answer itself will find out, if it is ever asked for


def _reserved(run: Run, tier: Tier, opened: Opened, window: int) -> Call | None:
    """Reserve the warm-up, or nothing where an answer on `tier` would not fit beside it."""
    ledger, exhausted = run.ledger, run.ledger.exhausted
    one = replace(run.request, max_tokens=1, logprobs=False, top_logprobs=0)
    try:
        call = run.reserve(tier, "probe", request=one)
    except BudgetExhausted:
        ledger.exhausted = exhausted  # the request does without: no limit cut it short
        return None
    sent = opened.first.usage if isinstance(opened.first, Delta) else None
    ledger.note(opened.call, (sent or Usage(calls=1)) + Usage(completion_tokens=window))
    if run.affords(tier, without=opened.call):
        return call
    ledger.exhausted = exhausted
    ledger.release(call)
    return None
