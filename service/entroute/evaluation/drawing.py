"""One draw: what is asked of a worker, and its answer as a row of a bank."""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from entroute.confidence import GATE_TOP_LOGPROBS
from entroute.evaluation.measures import measured
from entroute.evaluation.prompts_file import BankPrompt
from entroute.evaluation.samples import Sample
from entroute.protocols import Backend, Clock
from entroute.types import Call, Completion, chosen_logprob, top_logprobs

PAUSES_S = (1.0, 5.0, 15.0)
"""Seconds before each further attempt at a draw that failed: one attempt more than these."""

_DEADLINE_S = 86_400.0
_DECIMALS = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be recorded.

    Attributes:
        prompts: What is asked.
        samples: Draws that each prompt and tier gets whatever comes of them, at least 1.
        temperature: Of every sample.
        max_tokens: Most tokens of one sample, where its prompt names no other number.
        concurrency: Samples in flight at each tier, at least 1.
        hard_trials: Most draws of a hard prompt, its first ones included; no more than `samples`
            for none.
        seed: What draw i of every prompt is seeded with, plus i; None for no seed.
        pauses_s: As `PAUSES_S`.
    """

    prompts: Sequence[BankPrompt]
    samples: int = 4
    temperature: float = 0.7
    max_tokens: int = 320
    concurrency: int = 32
    hard_trials: int = 0
    seed: int | None = None
    pauses_s: tuple[float, ...] = PAUSES_S


@dataclass(frozen=True, slots=True)
class Failure:
    """A draw that no attempt has answered.

    Attributes:
        tier: Whom it was asked.
        prompt: The prompt's id.
        form: Its form.
        index: Which draw.
        reason: The last error, in words.
    """

    tier: str
    prompt: str
    form: str
    index: int
    reason: str


def pauses_of(retries: int) -> tuple[float, ...]:
    """Return the pauses of so many further attempts; the last of `PAUSES_S` is the longest."""
    return tuple(PAUSES_S[min(place, len(PAUSES_S) - 1)] for place in range(retries))


async def asked(
    backend: Backend, plan: Plan, prompt: BankPrompt, index: int, clock: Clock
) -> Completion:
    """Return an answer, streamed, with its tokens' ranked alternatives.

    Raises:
        CallFailed, WorkerRejected, DeadlineExceeded: As `Backend.stream`.
    """
    call = Call(
        id=0,
        request=replace(prompt.request, temperature=plan.temperature, seed=plan.seed),
        purpose="sample",
        deadline=clock() + _DEADLINE_S,
        sample=index,
        max_tokens=prompt.max_tokens or plan.max_tokens,
        top_logprobs=GATE_TOP_LOGPROBS,
    )
    async with aclosing(backend.stream(call)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Completion):
                return piece
    raise RuntimeError("a call ended without a completion")


def sample_of(tier: str, prompt: BankPrompt, index: int, completion: Completion) -> Sample:
    """Return a worker's answer as a row of a bank, not judged."""
    usage, tokens = completion.usage, completion.logprobs
    ranked = (sorted(top_logprobs(token), reverse=True)[:GATE_TOP_LOGPROBS] for token in tokens)
    return measured(
        Sample(
            prompt=prompt.id,
            task=prompt.task,
            form=prompt.form,
            tier=tier,
            index=index,
            message=prompt.request.text,
            text=completion.content,
            finish_reason=completion.finish_reason,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            ttft_s=round(completion.ttft_s, _DECIMALS),
            latency_s=round(completion.latency_s, _DECIMALS),
            tokens=tuple(str(token["token"]) for token in tokens),
            logprobs=tuple(round(chosen_logprob(token), _DECIMALS) for token in tokens),
            top=tuple(tuple(round(p, _DECIMALS) for p in top) for top in ranked),
        )
    )
