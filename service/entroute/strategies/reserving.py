"""Reserves samples wave by wave with room for their judging, and for the waves to come."""

from dataclasses import dataclass
from typing import Any

from entroute.errors import BudgetExhausted, Limit
from entroute.evidence import CutShort
from entroute.ledger import Ledger
from entroute.protocols import Run, Tier
from entroute.types import Call, ChatRequest


@dataclass(frozen=True, slots=True)
class Wave:
    """What a draw would like to begin.

    Attributes:
        samples: Samples to begin now, a probe's among them.
        most: Samples that may still be begun, these included.
        begun: Samples begun before.
        owed: Calls that judging those before will still take.
        head: A probe's call that is the first sample, already running.
    """

    samples: int
    most: int
    begun: int = 0
    owed: int = 0
    head: Call | None = None


@dataclass(frozen=True, slots=True)
class Reserved:
    """What a draw may begin.

    Attributes:
        calls: At most as many as were wanted, the head first.
        cut: Why they are fewer, None where they are not.
    """

    calls: tuple[Call, ...]
    cut: CutShort | None = None


@dataclass(frozen=True, slots=True)
class Reserver:
    """Reserves the samples of one draw.

    Attributes:
        run: The request.
        tier: Where samples come from.
        judging: Calls that judging one sample takes at most.
        refused: The limit that had refused a call before the draw.
        top_logprobs: Alternatives a token to ask for, None for what the client asked.
        request: What is asked where it is not the client's request itself.
    """

    run: Run
    tier: Tier
    judging: int
    refused: Limit | None
    top_logprobs: int | None = None
    request: ChatRequest | None = None

    def reserve(self, wave: Wave) -> Reserved:
        """Reserve a wave, fewer samples if the budget holds no more with their judging.

        Each takes its share of what is left for all that may still be begun. Where there is no
        room to judge even one, the first sample goes without.
        """
        ledger = self.run.ledger
        given = () if wave.head is None else (wave.head,)
        wanted = min(wave.samples, wave.most) - len(given)
        owed = wave.owed + self.judging * len(given)
        room = self._room(wave, wave.most - len(given), self.judging, owed)
        if room < 1 and wave.begun + len(given) == 0:
            room = self._room(wave, 1, 0, 0)
        if room < wanted:
            ledger.exhausted = "max_calls"
        for share in range(room, 0, -1):
            try:
                calls = self._reserved(wave, min(wanted, share), share)
            except BudgetExhausted as error:
                if error.limit == "deadline":
                    return Reserved(given, "deadline")
                continue
            if share < wanted:
                return Reserved(calls, "budget")
            ledger.exhausted = self.refused  # what was too much was room for later waves
            return Reserved(calls)
        if wanted > 0:
            return Reserved(given, "budget")
        ledger.exhausted = self.refused
        return Reserved(given)

    def _room(self, wave: Wave, most: int, judging: int, spare: int) -> int:
        """Return how many samples there are calls for beside the head, as `Ledger.room` has it."""
        return self.run.ledger.room(
            self.tier.name,
            self.request or self.run.request,
            most,
            first=wave.begun + (wave.head is not None),
            top_logprobs=self.top_logprobs,
            judging=judging,
            spare=spare,
        )

    def _reserved(self, wave: Wave, samples: int, share: int) -> tuple[Call, ...]:
        """Reserve so many calls beside the head, each with its share of what is left, or none.

        Raises:
            BudgetExhausted: The budget does not hold them all.
        """
        ledger, head = self.run.ledger, wave.head
        calls = [] if head is None else [ledger.shrink(head, share + 1)]
        try:
            for i in range(samples):
                call = self.run.reserve(
                    self.tier,
                    "sample",
                    request=self.request,
                    sample=wave.begun + len(calls),
                    share=share - i,
                    top_logprobs=self.top_logprobs,
                )
                calls.append(call)
        except BudgetExhausted:
            for call in calls[0 if head is None else 1 :]:
                ledger.release(call)
            if head is not None:
                ledger.shrink(head, 1)
            raise
        return tuple(calls)


def next_sample(run: Run, tier: Tier, room: int, **facts: Any) -> Call | None:
    """Reserve one sample with its share of what is left; None where the ledger holds none.

    Args:
        run: The request.
        tier: Where it comes from.
        room: Samples that may still be begun, this one included; below 1 no call is left.
        facts: As of `Run.reserve`.
    """
    ledger, before = run.ledger, run.ledger.exhausted
    if room < 1:
        ledger.exhausted = "max_calls"
    for share in range(room, 0, -1):
        try:
            call = run.reserve(tier, "sample", share=share, **facts)
        except BudgetExhausted as error:
            if error.limit == "deadline":
                break
        else:
            ledger.exhausted = before  # a larger share that did not fit has cut nothing yet
            return call
    return None


def shrunk(ledger: Ledger, call: Call, shares: int) -> Call:
    """Leave a probe's call one of so many shares of what is left, of fewer where that fits not."""
    refused = ledger.exhausted
    for share in range(shares, 1, -1):
        try:
            call = ledger.shrink(call, share)
            break
        except BudgetExhausted:
            continue
    ledger.exhausted = refused
    return call
