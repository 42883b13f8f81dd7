"""How strategies that rank samples judge them: one by one where that is possible."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp

from entroute.confidence import GATE_TOP_LOGPROBS
from entroute.errors import Limit
from entroute.evidence import Verdict
from entroute.protocols import Run, Verifier
from entroute.strategies.base import until_deadline
from entroute.types import ChatRequest, Completion, chosen_logprob
from entroute.uncertainty import mean_logprob

NOT_YET = Verdict(0.0, "not compared yet", abstained=True)
"""What is said of a candidate before all are there."""

LATE = Verdict(0.0, "not judged before the deadline", abstained=True)
"""What is said of a candidate for which time did not last."""


def as_they_come(judge: Verifier) -> Verifier:
    """Return what to ask while samples arrive: nobody yet, where the judge compares them."""
    return Unjudged(judge.top_logprobs, judge.calls) if judge.compares else OneByOne(judge)


@dataclass(frozen=True, slots=True)
class Judged:
    """What a verifier said of several candidates.

    Attributes:
        verdicts: One a candidate, in order; empty where time was up and nothing is known.
        late: Whether time was up before all were judged.
        limit: The limit that refused the verifier a call, or None.
    """

    verdicts: tuple[Verdict, ...]
    late: bool = False
    limit: Limit | None = None


async def verdicts_of(
    run: Run,
    verifier: Verifier,
    candidates: Sequence[Completion],
    request: ChatRequest | None = None,
) -> Judged:
    """Ask for verdicts until the deadline; one that failed is noted as a degraded part.

    Args:
        run: The request.
        verifier: Whom to ask.
        candidates: What to judge.
        request: What they answer where it is not the client's request itself.
    """
    ledger, refusals, late = run.ledger, run.ledger.refusals, False
    try:
        async with until_deadline(run):
            with run.trace.step("verify", verifier=verifier.name, candidates=len(candidates)):
                verdicts = await verifier.score(request or run.request, candidates)
    except TimeoutError:
        late = True
        verdicts = verifier.so_far(candidates) if isinstance(verifier, OneByOne) else ()
    if any(verdict.failed for verdict in verdicts):
        run.trace.degrade("verifier")
    return Judged(verdicts, late, ledger.exhausted if ledger.refusals > refusals else None)


class OneByOne:
    """Asks a verifier about each candidate once, as it comes, and remembers the verdict.

    New ones are judged concurrently, those that say the same in one go: it is not paid for twice.
    One on which the verifier failed is judged again with the next ones, unless that takes model
    calls: the budget keeps back `calls` a sample and no more.

    Args:
        verifier: One that judges each candidate alone.
    """

    compares = False

    def __init__(self, verifier: Verifier) -> None:
        self.name = verifier.name
        self.calls = verifier.calls
        self.top_logprobs = verifier.top_logprobs
        self._verifier = verifier
        self._known: dict[int, Verdict] = {}

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        """Judge those not seen yet. See `Verifier.score`."""
        alike: dict[str, list[Completion]] = {}
        for candidate in candidates:
            if self._open(candidate):
                said = f"{candidate.content}\0{candidate.tool_calls}"
                alike.setdefault(said, []).append(candidate)
        judging = [asyncio.create_task(self._judge(request, new)) for new in alike.values()]
        try:
            await asyncio.gather(*judging)  # one that is late says so itself, not in a group
        finally:
            for task in judging:
                task.cancel()
            await asyncio.gather(*judging, return_exceptions=True)
        return self.so_far(candidates)

    def so_far(self, candidates: Sequence[Completion]) -> tuple[Verdict, ...]:
        """Return what is known of candidates; an abstention where nothing is."""
        return tuple(self._known.get(c.call_id, LATE) for c in candidates)

    def _open(self, candidate: Completion) -> bool:
        known = self._known.get(candidate.call_id)
        return known is None or (known.failed and not self.calls)

    async def _judge(self, request: ChatRequest, alike: Sequence[Completion]) -> None:
        verdicts = await self._verifier.score(request, alike)
        for candidate, verdict in zip(alike, verdicts, strict=True):
            self._known[candidate.call_id] = verdict


class Unjudged:
    """Abstains on every candidate: they are compared when all are there.

    Args:
        top_logprobs: What the judge must see then.
        calls: What it will cost then.
    """

    name = "unjudged"
    compares = False

    def __init__(self, top_logprobs: int | None = None, calls: int = 0) -> None:
        self.top_logprobs = top_logprobs
        self.calls = calls

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        """Abstain. See `Verifier.score`."""
        return (NOT_YET,) * len(candidates)


class Likelihood:
    """Scores a sample by the geometric mean of its tokens' probabilities, in [0, 1].

    It is what is left without a verifier: it knows what the model finds likely, not what is
    right, and a client should be told so. Abstains without log-probabilities.

    Source: inference-time sharpening (2412.01951), length-normalised log-likelihood.
    """

    name = "likelihood"
    top_logprobs: int | None = GATE_TOP_LOGPROBS
    compares = False
    calls = 0

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        """Score each candidate on its own. See `Verifier.score`."""
        return tuple(_likelihood(candidate) for candidate in candidates)


def _likelihood(candidate: Completion) -> Verdict:
    try:
        mean = mean_logprob([chosen_logprob(token) for token in candidate.logprobs])
    except (KeyError, TypeError, ValueError):  # there are none, or they are no log-probabilities
        return Verdict(0.0, "the worker sent no log-probabilities", abstained=True)
    return Verdict(exp(mean), f"mean log-probability {mean:.4f} nats")


def silenced(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Return verdicts with score 0 where the verifier abstained: that score means nothing."""
    return tuple(replace(v, score=0.0) if v.abstained else v for v in verdicts)
