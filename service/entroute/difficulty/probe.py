"""`probe`: difficulty from the small model's first tokens, handed on so that none is made twice."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.calls import Head
from entroute.confidence import GATE_TOP_LOGPROBS, confidence
from entroute.decisions import Estimate
from entroute.errors import BudgetExhausted, CallFailed, DeadlineExceeded, WorkerRejected
from entroute.profile.text_model import TextModel
from entroute.protocols import Run, Tier
from entroute.types import Completion, Delta, TokenLogprob


class ProbeConfig(BaseModel):
    """Begin the answer on the cheapest tier and look at its first tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["probe"] = "probe"
    tokens: int = Field(default=32, ge=1, le=256, description="Tokens read before judging.")
    smoothing: int = Field(
        default=16, ge=1, le=256, description="Tokens over which entropy is averaged."
    )

    def build(self, model: TextModel | None = None) -> "Probe":
        """Return the estimator; it needs no model."""
        return Probe(self.tokens, self.smoothing)


class Probe:
    """Takes 1 - confidence of the first tokens as difficulty.

    The stream stays open in `Run.head`: a strategy on the same tier goes on with it, and one on
    another tier cancels it, at the price of the few tokens read. Abstains where a strategy could
    not go on with one stream (several choices, tools), where the tier is busy and where it fails.

    Args:
        tokens: Tokens read.
        smoothing: Tokens over which entropy is averaged.
    """

    name = "probe"

    def __init__(self, tokens: int, smoothing: int) -> None:
        self._tokens = tokens
        self._smoothing = smoothing

    async def estimate(self, run: Run) -> Estimate:
        """Read the first tokens. See `Estimator.estimate`."""
        if run.request.n > 1 or run.request.has_tools:
            return Estimate(None, self.name, "one stream would not do")
        usable = (t for t in run.tiers if t.available and t.fits(run.request))
        tier = next(usable, None)
        if tier is None:
            return Estimate(None, self.name, "no tier can be probed")
        if not run.ledger.shed.optional(tier.name):
            return Estimate(None, self.name, f"tier {tier.name} is busy")
        try:
            tokens = await self._read(run, tier)
        except (CallFailed, WorkerRejected, DeadlineExceeded, BudgetExhausted) as error:
            return Estimate(None, self.name, f"the probe failed: {type(error).__name__}")
        seen = confidence(tokens, self._smoothing)
        if seen is None:
            return Estimate(None, self.name, "the worker sent no log-probabilities")
        reason = f"confidence {seen:.2f} over {len(tokens)} tokens of tier {tier.name}"
        return Estimate(1 - seen, self.name, reason)

    async def _read(self, run: Run, tier: Tier) -> list[TokenLogprob]:
        """Read the first tokens and leave the live stream in the run."""
        call = run.reserve(tier, "probe", top_logprobs=GATE_TOP_LOGPROBS)
        rest = tier.backend.stream(call)
        seen: list[Delta | Completion] = []
        tokens: list[TokenLogprob] = []
        run.head = Head(tier.name, call, seen, rest)
        try:
            while len(tokens) < self._tokens:
                piece = await anext(rest)
                seen.append(piece)
                if isinstance(piece, Completion):
                    break
                tokens.extend(piece.logprobs)
        except (CallFailed, WorkerRejected, DeadlineExceeded):
            await run.close()
            raise
        return tokens
