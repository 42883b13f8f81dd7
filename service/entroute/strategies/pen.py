"""Who writes an answer, who may go on with it, and what a rule of when is asked."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from entroute.confidence import GATE_TOP_LOGPROBS
from entroute.errors import BudgetExhausted, CallFailed, DeadlineExceeded, WorkerRejected
from entroute.evidence import Escalation, Outcome, StopReason, cut_by
from entroute.protocols import Run, Tier
from entroute.strategies.base import Opened, open_answer
from entroute.strategies.manuscript import Manuscript
from entroute.types import Completion, Delta, TokenLogprob


@dataclass(frozen=True, slots=True)
class Wish:
    """What a rule would like to happen.

    Attributes:
        up: Whether a larger tier should go on, else a smaller one.
        reason: Why, as an escalation says it.
        confidence: What the rule saw, in [0, 1], or None.
    """

    up: bool
    reason: Literal["unsure", "calm", "chance"]
    confidence: float | None = None


class Rule(ABC):
    """Says when one answer should change hands, token by token.

    Attributes:
        by_chance: Whether it decides by chance, so that its answers must not be given again.
    """

    by_chance = False

    @abstractmethod
    def opens_up(self) -> bool:
        """Return whether a larger tier than the decided one should begin."""

    @abstractmethod
    def begin(self, *, raised: bool) -> None:
        """Begin anew with another writer, `raised` above the tier that was decided or not."""

    @abstractmethod
    def see(self, token: TokenLogprob) -> Wish | None:
        """Take the writer's next token; return what should happen after it."""


class Pen:
    """One answer: who writes it, who may, and what was moved.

    Args:
        run: Of the request.
        rule: When to move.
        most: Most hand-overs.
    """

    def __init__(self, run: Run, rule: Rule, most: int) -> None:
        self._run = run
        self._rule = rule
        self._most = most
        self._start = run.tier(run.decision.tier)
        self._text = Manuscript(run)
        self._moves: list[Escalation] = []
        self._gone: set[str] = set()
        self._hand_overs = 0
        self._stays = False
        self._cut: StopReason | None = None

    async def open(self) -> Opened:
        """Open the answer on the decided tier, or above it where the rule says so.

        Raises:
            CallFailed, WorkerRejected, BudgetExhausted, DeadlineExceeded: No tier can answer.
        """
        start = self._start
        if self._rule.opens_up():
            start = next(iter(self._others(start, up=True)), start)
        opened = await open_answer(self._run, start, top_logprobs=GATE_TOP_LOGPROBS)
        self._moves.extend(opened.moves)
        self._gone.update(move.source for move in opened.moves)
        self._cut = "budget" if opened.cut else None
        self._begin(opened)
        return opened

    def take(self, piece: Delta | Completion) -> Delta | None:
        """Take one piece of the writer; return what may be released."""
        if isinstance(piece, Completion):
            return self._text.finish(piece)
        # Reasoning is no part of the text that another worker would go on with.
        self._stays = self._stays or bool(piece.extra)
        if piece.content and not piece.logprobs and not self._text.tokens_read:
            self._run.trace.degrade("gate")
            self._stays = True
        return self._text.add(piece)

    def wish(self, piece: Delta | Completion) -> Wish | None:
        """Return what the rule would like after a piece."""
        wish: Wish | None = None
        if not isinstance(piece, Completion):
            for token in piece.logprobs:
                wish = self._rule.see(token)
        return wish

    def target(self, wish: Wish) -> Tier | None:
        """Return the tier that the answer goes to, or None where it must stay."""
        writer = self._text.opened.tier
        needed = 1 if wish.up else 2
        if self._stays or not writer.continues or self._hand_overs + needed > self._most:
            return None
        if not self._text.written or self._text.full:
            return None
        target = next(iter(self._others(writer, up=wish.up)), None)
        if target is None:
            self._note_missing(writer, up=wish.up)
        return target

    def affords(self, target: Tier) -> bool:
        """Whether the budget holds the rest of the answer on `target` in place of the writer."""
        afforded = self._run.affords(
            target,
            without=self._text.opened.call,
            request=self._text.rest_of_request,
            partial=self._text.content,
        )
        if not afforded:  # nothing that follows makes it cheaper
            self._stays, self._cut = True, "budget"
        return afforded

    async def hand_over(self, wish: Wish, target: Tier) -> Opened | None:
        """Let `target` go on, or the old writer where `target` fails.

        None where budget or time holds neither any more: what was released is the answer then.

        Raises:
            CallFailed, WorkerRejected: Neither can.
        """
        writer = self._text.opened.tier
        self._text.drop()
        self._hand_overs += 1
        try:
            opened = await self._taken_over(wish, writer, target)
        except (BudgetExhausted, DeadlineExceeded) as error:
            self._cut = cut_by(error.limit if isinstance(error, BudgetExhausted) else "deadline")
            self._text.end()
            return None
        self._begin(opened)
        return opened

    async def _taken_over(self, wish: Wish, writer: Tier, target: Tier) -> Opened:
        try:
            opened = await self._continued(target)
        except (CallFailed, WorkerRejected):
            self._run.trace.degrade(f"tier:{target.name}")
            self._gone.add(target.name)
            return await self._continued(writer)
        move = Escalation(writer.name, target.name, wish.reason, wish.confidence)
        self._moves.append(move)
        return opened

    def outcome(self, strategy: str) -> Outcome:
        """Return the whole answer as one, once its last call has ended."""
        completion, last = self._text.whole()
        cut = "budget" if self._cut is None and self._run.ledger.cut(last) else self._cut
        if cut == "deadline":
            self._run.ledger.exhausted = "deadline"
        return Outcome(
            choices=(completion,),
            strategy=strategy,
            stop_reason=cut or ("escalated" if self._moves else "settled"),
            candidates=(completion,),
            escalations=tuple(self._moves),
            segments=tuple(self._text.segments),
            repeatable=not self._rule.by_chance,
        )

    def _begin(self, opened: Opened) -> None:
        self._text.begin(opened)
        places = [tier.name for tier in self._run.tiers]
        raised = places.index(opened.tier.name) > places.index(self._start.name)
        self._rule.begin(raised=raised)

    async def _continued(self, tier: Tier) -> Opened:
        """Open the rest of the answer on `tier` and wait for its first piece."""
        call = self._run.reserve(
            tier,
            "answer",
            request=self._text.rest_of_request,
            top_logprobs=GATE_TOP_LOGPROBS,
            partial=self._text.content,
        )
        stream = tier.backend.stream(call)
        try:
            first = await anext(stream)
        except BaseException:
            await stream.aclose()
            raise
        return Opened(tier, call, first, stream)

    def _others(self, tier: Tier, *, up: bool) -> Sequence[Tier]:
        """Return the tiers that could take over, the nearest first."""
        place = [t.name for t in self._run.tiers].index(tier.name)
        tiers = self._run.tiers
        others = tiers[place + 1 :] if up else tiers[:place][::-1]
        request = self._run.request
        able = [t for t in others if t.continues and t.available and t.fits(request)]
        return [t for t in able if t.name not in self._gone]

    def _note_missing(self, tier: Tier, *, up: bool) -> None:
        """Note the larger tiers that would take over but are down."""
        place = [t.name for t in self._run.tiers].index(tier.name)
        for larger in self._run.tiers[place + 1 :] if up else ():
            if larger.fits(self._run.request) and not larger.available:
                self._run.trace.degrade(f"tier:{larger.name}")
