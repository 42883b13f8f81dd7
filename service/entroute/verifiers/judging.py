"""What verifiers share: what a candidate says, abstentions, and calls that never fail a verdict."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import TypeVar

from entroute.errors import (
    BudgetExhausted,
    CallFailed,
    DeadlineExceeded,
    InvalidRequest,
    WorkerRejected,
)
from entroute.evidence import Verdict
from entroute.protocols import Run, Tier
from entroute.tool_calls import canonical_tool_calls
from entroute.types import ChatRequest, Completion

K = TypeVar("K", bound=Hashable)

MAX_QUOTE = 200
"""Characters of a foreign text that a reason repeats."""


def abstained(reason: str) -> Verdict:
    """Return the verdict of a verifier that finds nothing to judge, and why."""
    return Verdict(0.0, reason, abstained=True)


def out_of_order(reason: str) -> Verdict:
    """Return the verdict of a verifier that something it needs has failed, and what."""
    return Verdict(0.0, reason, abstained=True, failed=True)


def text_of(candidate: Completion) -> str:
    """Return what a candidate says: its tool calls in canonical writing, else its text.

    Half a surrogate pair, which no request can carry, becomes a question mark.
    """
    said = candidate.content
    if candidate.tool_calls:
        said = canonical_tool_calls(candidate.tool_calls)
    return said.encode(errors="replace").decode()


def quoted(text: str) -> str:
    """Return the beginning of a foreign text on one line, 200 characters at most."""
    line = " ".join(text[: 4 * MAX_QUOTE].split())
    return line if len(line) <= MAX_QUOTE else f"{line[:MAX_QUOTE]}..."


async def each_once(
    keys: Sequence[K], judge: Callable[[K], Awaitable[Verdict]], known: dict[K, Verdict]
) -> tuple[Verdict, ...]:
    """Judge every distinct key once, all of them concurrently; one verdict a key, same order.

    `known` holds the verdicts on earlier samples of the same request: strategies show samples as
    they arrive, and equal ones are not paid for again. An abstention is not kept, since a call
    that failed may be answered the next time.
    """

    async def judged(key: K) -> Verdict:
        return await judge(key)

    new = [key for key in dict.fromkeys(keys) if key not in known]
    async with asyncio.TaskGroup() as group:
        tasks = {key: group.create_task(judged(key)) for key in new}
    verdicts = {key: task.result() for key, task in tasks.items()}
    known.update((key, verdict) for key, verdict in verdicts.items() if not verdict.abstained)
    return tuple(verdicts.get(key) or known[key] for key in keys)


async def asked(
    run: Run, tier: Tier, request: ChatRequest, *, top_logprobs: int | None = None
) -> Completion | Verdict:
    """Ask a tier for a verifier, charged with purpose `verify`; an abstention if that fails.

    A call that the request's budget does not hold is an abstention too, but no failure: the client
    set that limit.
    """
    called = f"the call to tier '{tier.name}' failed"
    try:
        call = run.reserve(tier, "verify", request=request, top_logprobs=top_logprobs)
        return await tier.backend.complete(call)
    except BudgetExhausted as error:
        return abstained(f"{called}: {quoted(_told(error))}")
    except (CallFailed, DeadlineExceeded, WorkerRejected) as error:
        return out_of_order(f"{called}: {quoted(_told(error))}")


def _told(error: Exception) -> str:
    """Return what clients may read of a failure: workers' addresses are the operator's business."""
    if isinstance(error, WorkerRejected):
        return error.message
    if isinstance(error, CallFailed):
        return "its workers did not answer"
    return str(error)


def named_tier(run: Run, name: str) -> Tier:
    """Return the tier that a verifier's option names.

    Raises:
        InvalidRequest: The request has no tier of that name.
    """
    for tier in run.tiers:
        if tier.name == name:
            return tier
    known = ", ".join(tier.name for tier in run.tiers)
    raise InvalidRequest(
        f"No tier is named '{quoted(name)}'. Tiers of this request: {known}.",
        param="entroute.verifier.tier",
    )


def chat_options(request: ChatRequest) -> dict[str, object]:
    """Return the client's fields that say how a chat is written, such as whether to think."""
    kept = "chat_template_kwargs"
    return {kept: request.extra[kept]} if kept in request.extra else {}
