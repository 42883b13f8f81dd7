"""Chains of revisions: each attempt sees the ones before it; chains run side by side."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from entroute.errors import BudgetExhausted, DeadlineExceeded
from entroute.evidence import Escalation, cut_by
from entroute.protocols import Run, Tier, Verifier
from entroute.strategies.base import continued, may_move, move, taken_head
from entroute.strategies.drawing import Draw, judge_together
from entroute.strategies.fanout import Failure, Fanout
from entroute.strategies.judging import NOT_YET
from entroute.strategies.prompting import with_turns
from entroute.strategies.reserving import next_sample, shrunk
from entroute.types import Call, ChatRequest, Completion, Delta
from entroute.uncertainty import leading_votes, lossless_settled

REVISE_LINE = (
    "Look for mistakes in your answer above. Then give a better, complete answer to the original "
    "request, in the form that it asks for."
)
"""What follows every attempt that a revision sees."""

MEMORY = 4
"""Attempts that a revision sees at most."""


def revision_of(request: ChatRequest, attempts: Sequence[Completion]) -> ChatRequest:
    """Return the request for the next attempt: the last four follow the conversation as turns.

    An attempt without text, all thought, is left out; without any it is the request itself.
    Source: sequential revisions (2408.03314), section 6, up to four previous answers in context.
    """
    texts = [attempt.content for attempt in attempts if attempt.content][-MEMORY:]
    turns = [
        turn
        for text in texts
        for turn in (
            {"role": "assistant", "content": text},
            {"role": "user", "content": REVISE_LINE},
        )
    ]
    return with_turns(request, *turns) if turns else request


@dataclass(frozen=True, slots=True)
class Plan:
    """How attempts are made.

    Attributes:
        chains: Chains side by side, at least 1.
        rounds: Attempts of a chain, at least 1; the first revises nothing.
        judge: Votes over the attempts or scores them; asked whenever one ends.
        votes: Whether its verdicts are votes: else a score of 1 ends everything at once.
    """

    chains: int
    rounds: int
    judge: Verifier
    votes: bool


@dataclass(slots=True)
class Refining:
    """Chains of attempts on one tier.

    Attributes:
        run: The request.
        plan: How.
        draw: What was asked and what came, with a verdict for each.
        chains: Finished attempts by chain, in order.
        places: Chain and round of every call, both from 0.
        ended: Chains that make no further attempt.
    """

    run: Run
    plan: Plan
    draw: Draw
    chains: list[list[Completion]] = field(default_factory=list)
    places: dict[int, tuple[int, int]] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)

    async def go(self) -> None:
        """Make attempts until all chains have ended or no more are needed.

        Raises:
            BudgetExhausted: Not a single attempt fits.
        """
        self.chains = [[] for _ in range(self.plan.chains)]
        async with Fanout() as fanout:
            await self._begin(fanout)
            while fanout.live:
                call_id, arrival = await fanout.next()
                if isinstance(arrival, Delta):
                    continue
                chain, _ = self.places[call_id]
                if not isinstance(arrival, Completion):
                    self._fail(call_id, arrival)
                elif not await self._goes_on(chain, arrival):
                    break
                else:
                    self._attempt(chain, fanout)
            self.draw.cancelled = await fanout.cancel()
            self.draw.unread |= fanout.unread
            for call in self.draw.calls:
                self.run.ledger.release(call)  # cancelled before it began: it has spent nothing

    async def _begin(self, fanout: Fanout) -> None:
        """Begin every chain, the first with a probe's stream where it is of this tier."""
        head = await taken_head(self.run, self.draw.tier)
        if head is not None:
            self._note(head.call, 0)
            shares = 1 + self._room(self.plan.judge.calls)
            call = self.draw.calls[0] = shrunk(self.run.ledger, head.call, shares)
            fanout.start(call.id, continued(head, call, self.draw.tier))
        for chain in range(len(self.draw.calls), self.plan.chains):
            self._attempt(chain, fanout)
        if not self.draw.calls:
            raise BudgetExhausted(self.run.ledger.exhausted or "max_calls")

    def _attempt(self, chain: int, fanout: Fanout) -> None:
        """Begin a chain's next attempt, or end the chain."""
        made = self.chains[chain]
        call = self._reserved(chain) if len(made) < self.plan.rounds else None
        if call is None:
            self.ended.add(chain)
            return
        self._note(call, chain)
        fanout.start(call.id, self.draw.tier.backend.stream(call))

    def _room(self, owed: int) -> int:
        """Return how many of the attempts still planned there are calls for, with their judging."""
        each = 1 + self.plan.judge.calls
        planned = self.plan.rounds * (self.plan.chains - len(self.ended)) - sum(
            1 for c, _ in self.places.values() if c not in self.ended
        )
        ledger = self.run.ledger
        left = ledger.calls_under_load(self.draw.tier.name, not self.places)
        if left < ledger.calls_left and (left - owed) // each < planned:
            ledger.shed.note()
        return min(planned, (left - owed) // each)

    def _reserved(self, chain: int) -> Call | None:
        """Reserve a chain's next attempt with its share of what is left, or None."""
        draw, judge, ledger = self.draw, self.plan.judge, self.run.ledger
        live = len(self.places) - len(draw.done) - len(draw.failed)
        owed = judge.calls * (live + draw.votes.count(NOT_YET))
        # Where there is no room to judge even one, the first attempt goes without.
        judging, spare = (judge.calls, owed) if self.places else (0, 0)
        request = revision_of(self.run.request, self.chains[chain])
        sample, tops = chain * self.plan.rounds + len(self.chains[chain]), judge.top_logprobs
        this = ledger.room(
            draw.tier.name,
            request,
            1,
            first=sample,
            top_logprobs=tops,
            judging=judging,
            spare=spare,
        )
        room = max(self._room(owed), this)
        facts: dict[str, Any] = {"request": request, "sample": sample, "top_logprobs": tops}
        call = next_sample(self.run, draw.tier, room, **facts)
        if call is None and draw.stop != "deadline":
            draw.stop = cut_by(ledger.exhausted)
        return call

    def _note(self, call: Call, chain: int) -> None:
        self.places[call.id] = (chain, len(self.chains[chain]))
        self.draw.calls.append(call)

    def _fail(self, call_id: int, failure: Failure) -> None:
        """End a chain whose call failed; it keeps what it has."""
        self.ended.add(self.places[call_id][0])
        self.draw.failures.append(failure)
        self.draw.failed.add(call_id)
        if isinstance(failure, DeadlineExceeded):
            self.draw.stop = "deadline"

    async def _goes_on(self, chain: int, attempt: Completion) -> bool:
        """Take an attempt and judge it; False when no more are needed or time is up."""
        self.chains[chain].append(attempt)
        draw = self.draw
        draw.done.append(attempt)
        if not await judge_together(self.run, draw, self.plan.judge):
            return False
        return not (self._outvoted() if self.plan.votes else self._verified())

    def _verified(self) -> bool:
        perfect = any(not v.abstained and v.score >= 1 for v in self.draw.votes)
        if perfect:
            self.draw.stop = "verified"
        return perfect

    def _outvoted(self) -> bool:
        """Whether attempts still to come cannot change the majority."""
        going_on = set(range(self.plan.chains)) - self.ended
        unknown = sum(self.plan.rounds - len(self.chains[chain]) for chain in going_on)
        leader, runner_up = leading_votes(self.draw.answers)
        outvoted = unknown > 0 and lossless_settled(leader, runner_up, unknown)
        if outvoted and self.draw.stop == "exhausted":
            self.draw.stop = "settled"
        return outvoted


async def refined(run: Run, tier: Tier, plan: Plan) -> Refining:
    """Refine on `tier`, or on another one if not a single attempt of it arrives.

    Raises:
        CallFailed, WorkerRejected, BudgetExhausted, DeadlineExceeded: No tier gave an attempt.
    """
    moves: tuple[Escalation, ...] = ()
    while True:
        refining = Refining(run, plan, Draw(tier, plan.chains * plan.rounds, moves=moves))
        await refining.go()
        if refining.draw.done:
            return refining
        failure = refining.draw.failures[0]
        target = may_move(run, tier, failure, moves)
        if target is None:
            raise failure
        moves = (*moves, move(run, tier, target, failure))
        tier = target
