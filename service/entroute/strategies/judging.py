"""How strategies that rank samples judge them: one by one where that is possible."""

from collections.abc import Sequence
from dataclasses import replace
from math import exp

from entroute.confidence import GATE_TOP_LOGPROBS
from entroute.evidence import Verdict
from entroute.protocols import Run, Verifier
from entroute.strategies.base import until_deadline
from entroute.strategies.drawing import Draw
from entroute.types import ChatRequest, Completion, chosen_logprob
from entroute.uncertainty import mean_logprob


def as_they_come(judge: Verifier) -> Verifier:
    """Return what to ask while samples arrive: nobody yet, where the judge compares them."""
    return Unjudged(judge.top_logprobs) if judge.compares else OneByOne(judge)


async def judge_together(run: Run, draw: Draw, judge: Verifier) -> None:
    """Judge all samples of a draw at once; its verdicts stay as they are where time is up."""
    try:
        async with until_deadline(run):
            draw.votes = await judge.score(run.request, draw.done)
    except TimeoutError:
        draw.stop = "deadline"


class OneByOne:
    """Asks a verifier about each candidate once, as it comes, and remembers the verdict.

    Args:
        verifier: One that judges each candidate alone.
    """

    compares = False

    def __init__(self, verifier: Verifier) -> None:
        self.name = verifier.name
        self.top_logprobs = verifier.top_logprobs
        self._verifier = verifier
        self._known: dict[int, Verdict] = {}

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        """Judge those not seen yet. See `Verifier.score`."""
        new = [c for c in candidates if c.call_id not in self._known]
        if new:
            for candidate, verdict in zip(
                new, await self._verifier.score(request, new), strict=True
            ):
                self._known[candidate.call_id] = verdict
        return tuple(self._known[c.call_id] for c in candidates)


class Unjudged:
    """Abstains on every candidate: they are compared when all are there."""

    name = "unjudged"
    compares = False

    def __init__(self, top_logprobs: int | None = None) -> None:
        self.top_logprobs = top_logprobs

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        """Abstain. See `Verifier.score`."""
        return (Verdict(0.0, "not compared yet", abstained=True),) * len(candidates)


class Likelihood:
    """Scores a sample by the geometric mean of its tokens' probabilities, in [0, 1].

    It is what is left without a verifier: it knows what the model finds likely, not what is
    right, and a client should be told so. Abstains without log-probabilities.

    Source: inference-time sharpening (2412.01951), length-normalised log-likelihood.
    """

    name = "likelihood"
    top_logprobs: int | None = GATE_TOP_LOGPROBS
    compares = False

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
