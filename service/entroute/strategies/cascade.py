"""`cascade`: stream a small tier once its first window looks sure, else start again larger."""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from entroute.confidence import GATE_TOP_LOGPROBS
from entroute.errors import CallFailed
from entroute.evidence import Escalation, Outcome, Refusal, StopReason, Verdict
from entroute.profile.points import Points, check_points
from entroute.protocols import OutcomeStream, Run, Tier
from entroute.strategies.base import Opened, may_move, move, open_answer, outcome_of, unreachable
from entroute.strategies.gating import Gate
from entroute.strategies.parts import StrategyParts
from entroute.strategies.refusals import (
    refuse_choices,
    refuse_pin,
    refuse_tools,
    refuse_verifier,
)
from entroute.strategies.warming import warmed
from entroute.types import Completion, Delta, TokenLogprob


class CascadeConfig(BaseModel):
    """Gate on a held-back window of the small tier, escalate before anything is released."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["cascade"] = "cascade"
    window: int = Field(
        default=64, ge=1, le=4096, description="Tokens held back while the gate decides."
    )
    smoothing: int = Field(
        default=16, ge=1, le=4096, description="Tokens over which entropy is averaged."
    )
    threshold: float = Field(
        default=0.6,
        ge=0,
        le=1,
        description="Least confidence to release: exp(-entropy) of the least certain stretch, "
        "or what `calibration` makes of it.",
    )
    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default={}, description="Thresholds of single tiers, by name, in place of `threshold`."
    )
    calibration: Points = Field(
        default=(),
        description="Points [confidence, p_right], rising, of the piecewise-linear map that turns "
        "confidence into the probability of a right answer, which is then compared.",
    )
    warm_up: bool = Field(
        default=False,
        description="Ask the next tier for one token while the gate decides, so that its prefix "
        "cache holds the prompt; charged as a probe.",
    )

    @field_validator("calibration")
    @classmethod
    def _rising(cls, points: Points) -> Points:
        return check_points(points)

    def build(self, parts: StrategyParts) -> "Cascade":
        """Return the strategy."""
        gate = Gate(self.smoothing, self.threshold, self.thresholds, self.calibration)
        return Cascade(self.window, gate, warm_up=self.warm_up)


@dataclass(slots=True)
class _Held:
    """What was held back of one tier, and what the gate saw in it."""

    opened: Opened
    pieces: list[Delta | Completion] = field(default_factory=list)
    confidence: float | None = None
    failure: CallFailed | None = None


class Cascade:
    """Cascade over the tiers from the decided one upwards.

    The same rule holds streamed or not: only the held-back window is looked at, because released
    text is never retracted. The last tier that can be reached is not gated.

    Args:
        window: Tokens held back.
        gate: Judges them.
        warm_up: Whether the next tier reads the prompt while the gate decides.

    Source: hybrid cascades on token uncertainty; gate signal after DeepConf (2508.15260).
    """

    name = "cascade"

    def __init__(self, window: int, gate: Gate, *, warm_up: bool = False) -> None:
        self._window = window
        self._judge = gate
        self._warm_up = warm_up

    def supports(self, run: Run) -> Refusal | None:
        """Refuse a pinned tier, which it may leave, and what has no one window to gate on."""
        return refuse_pin(run) or refuse_choices(run) or refuse_tools(run) or refuse_verifier(run)

    async def run(self, run: Run) -> Outcome:
        """Answer at once by the streamed rule. See `Strategy.run`."""
        return await outcome_of(self.stream(run))

    async def stream(self, run: Run) -> OutcomeStream:
        """Hold back, gate, release or escalate. See `Streams.stream`."""
        held, stop = await self._settle(run)
        completion: Completion | None = None
        async with aclosing(held.opened.rest) as rest:
            for piece in held.pieces:
                if isinstance(piece, Completion):
                    completion = piece
                else:
                    yield piece
            async for piece in rest:
                if isinstance(piece, Completion):
                    completion = piece
                else:
                    yield piece
        if completion is None:
            raise RuntimeError("a call ended without a completion")
        cut = held.opened.cut or run.ledger.cut(completion)
        yield self._outcome(completion, held, "budget" if cut else stop)

    async def _settle(self, run: Run) -> tuple[_Held, StopReason]:
        """Climb until a tier's window may be released; what it returns is still streaming."""
        tier = run.tier(run.decision.tier)
        moves: tuple[Escalation, ...] = ()
        while True:
            larger = _next(run, tier, moves) if self._warm_up else None
            held: _Held | None = None
            try:
                async with warmed(run, larger, tier, self._window):
                    held = await self._begun(run, tier, moves)
                step, stop = self._gate(run, held)
            except BaseException:
                if held is not None:
                    await held.opened.rest.aclose()
                raise
            opened = held.opened
            if step is None:
                return held, stop
            await opened.rest.aclose()
            run.ledger.mark(opened.call, "discarded")
            moves = (*opened.moves, step)
            tier = run.tier(step.target)

    async def _begun(self, run: Run, tier: Tier, moves: tuple[Escalation, ...]) -> _Held:
        opened = await open_answer(run, tier, top_logprobs=GATE_TOP_LOGPROBS, tried=moves)
        try:
            return await self._hold_back(opened)
        except BaseException:
            await opened.rest.aclose()
            raise

    async def _hold_back(self, opened: Opened) -> _Held:
        held = _Held(opened)
        tokens: list[TokenLogprob] = []
        piece: Delta | Completion = opened.first
        try:
            while True:
                held.pieces.append(piece)
                if isinstance(piece, Completion):
                    break
                tokens.extend(piece.logprobs)
                if len(tokens) >= self._window:
                    break
                piece = await anext(opened.rest)
        except CallFailed as error:
            held.failure = error
        held.confidence = self._judge.value(tokens[: self._window])
        return held

    def _gate(self, run: Run, held: _Held) -> tuple[Escalation | None, StopReason]:
        """Return the move that the held-back window asks for, or why it may be released."""
        opened = held.opened
        if held.failure is not None:
            return self._after_failure(run, held, held.failure), "escalated"
        larger = _next(run, opened.tier, opened.moves)
        if larger is None:
            self._note_missing(run, opened.tier)
            return None, "escalated" if opened.moves else "exhausted"
        if held.confidence is None:
            run.trace.degrade("gate")
            return None, "exhausted"
        if self._judge.releases(opened.tier.name, held.confidence):
            return None, "confident"
        if not run.affords(larger, without=opened.call):
            return None, "budget"
        step = Escalation(opened.tier.name, larger.name, "unsure", held.confidence)
        return step, "escalated"

    def _note_missing(self, run: Run, tier: Tier) -> None:
        """Note the larger tiers that would do but are down."""
        for larger in run.tiers[run.tiers.index(tier) + 1 :]:
            if larger.fits(run.request) and not larger.available:
                run.trace.degrade(f"tier:{larger.name}")

    def _after_failure(self, run: Run, held: _Held, failure: CallFailed) -> Escalation:
        """Move on from a tier that failed before anything was released, or let it stand."""
        target = may_move(run, held.opened.tier, failure, held.opened.moves)
        if target is None:
            raise failure
        return move(run, held.opened.tier, target, failure)

    def _outcome(self, completion: Completion, held: _Held, stop: StopReason) -> Outcome:
        seen = held.confidence
        verdict = Verdict(
            score=seen or 0.0,
            reason=f"confidence of the first {self._window} tokens",
            abstained=seen is None,
        )
        return Outcome(
            choices=(completion,),
            strategy=self.name,
            stop_reason=stop,
            candidates=(completion,),
            verdicts=(verdict,),
            verifier="confidence",
            escalations=held.opened.moves,
        )


def _next(run: Run, tier: Tier, moves: Sequence[Escalation]) -> Tier | None:
    """Return the tier that a doubt about `tier` would ask, or None."""
    larger = run.above(tier)
    return None if larger is None or larger.name in unreachable(moves) else larger
