"""One token asked of the tier that may be next, so that its prefix cache holds the prompt."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from entroute.errors import BudgetExhausted, CallFailed, DeadlineExceeded, WorkerRejected
from entroute.protocols import Run, Tier
from entroute.types import Call


@asynccontextmanager
async def warmed(run: Run, larger: Tier | None, tier: Tier, window: int) -> AsyncIterator[None]:
    """Warm `larger` up while the block runs; what is not done at its end is cancelled.

    A worker keeps what it has read by then. Nobody waits for the warm-up, and nothing happens
    where there is no tier the budget does not hold it beside whole
    answers, or there is load.

    Args:
        run: Of the request.
        larger: The tier that may be next, or None.
        tier: The tier that a gate decides on; the block opens its call.
        window: Tokens that call may send until the gate has decided.
    """
    wanted = larger is not None and run.ledger.shed.optional(larger.name)
    call = _reserved(run, larger, tier, window) if larger is not None and wanted else None
    if larger is None or call is None:
        yield
        return
    task = asyncio.create_task(_ask(larger, call))
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


def _reserved(run: Run, larger: Tier, tier: Tier, window: int) -> Call | None:
    """Reserve the warm-up, or nothing where either tier's answer would get less for it."""
    exhausted = run.ledger.exhausted
    one = replace(run.request, max_tokens=1, logprobs=False, top_logprobs=0)
    begun = replace(run.request, max_tokens=min(window, run.request.max_tokens or window))
    kept: list[Call] = []
    try:
        kept.append(run.reserve(larger, "probe", request=one))
        fits = _whole(run, tier)
        kept.append(run.reserve(tier, "probe", request=begun))  # in place of a call cut off there
        fits = fits and _whole(run, larger)
    except BudgetExhausted:
        fits = False
    run.ledger.exhausted = exhausted  # the request does without: no limit cut it short
    for call in kept[1:] if fits else kept:
        run.ledger.release(call)
    return kept[0] if fits else None


def _whole(run: Run, tier: Tier) -> bool:
    """Whether an answer on `tier` would now end where the client or the model ends it.

    Raises:
        BudgetExhausted: There is no room for one.
    """
    call = run.reserve(tier, "answer")
    run.ledger.release(call)
    return call.max_tokens == run.request.max_tokens
