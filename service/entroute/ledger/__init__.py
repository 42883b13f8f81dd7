"""The ledger of one request: reserve the worst case, commit exactly once, release on cancel.

It opens before difficulty is estimated, since a probe spends too. What is reserved and what is
committed never exceed the budget together, whatever fails, as long as workers honour max_tokens.
A call that an earlier run of the same prompt has made already is given out for nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from entroute.errors import BudgetExhausted, Limit
from entroute.ledger.bounds import UNKNOWN_CONTEXT, cut_off, prompt_bound
from entroute.ledger.earlier import Earlier, Kept
from entroute.spending import Budget, Charge, Price, Purpose, Usage
from entroute.types import Call, ChatRequest, Completion

__all__ = ["UNKNOWN_CONTEXT", "Earlier", "Ledger", "cut_off", "prompt_bound"]


@dataclass(slots=True)
class _Entry:
    call: Call
    tier: str
    purpose: Purpose
    worst: Usage
    whole: Usage  # the worst case at first
    sent: Usage = field(default_factory=Usage)
    charge: Charge | None = None
    kept: Completion | None = None


class Ledger:
    """What one request has reserved and spent.

    Args:
        budget: Hard limits.
        prices: By tier name; a tier without a price costs nothing.
        clock: Monotonic seconds.

    Attributes:
        exhausted: The limit that last refused a call, or None.
        refusals: How often one did.
        resumed: What was given out of earlier runs, in order.
    """

    def __init__(
        self, budget: Budget, prices: Mapping[str, Price], clock: Callable[[], float]
    ) -> None:
        self.budget = budget
        self._prices = prices
        self._clock = clock
        self._entries: dict[int, _Entry] = {}
        self._next_id = 0
        self._kept = Kept(None, budget, self._price)
        self.exhausted: Limit | None = None
        self.refusals = 0
        self.resumed: list[Completion] = []

    def resume(self, earlier: Earlier) -> None:
        """Give out what earlier runs have made, from now on, and tell what this one makes."""
        self._kept = Kept(earlier, self.budget, self._price)

    def reserve(  # noqa: PLR0913 - each argument is one fact of the call, all but three optional
        self,
        tier: str,
        request: ChatRequest,
        purpose: Purpose,
        *,
        share: int = 1,
        sample: int = 0,
        top_logprobs: int | None = None,
        context_length: int | None = None,
        partial: str = "",
    ) -> Call:
        """Reserve the worst case of one call.

        Args:
            tier: Tier to be called.
            request: What will be asked.
            purpose: What for.
            share: Samples from this one on; what is left is divided by those not kept.
            sample: Index of the sample.
            top_logprobs: Alternatives a token to ask for, None for what the client asked.
            context_length: Tokens that the tier's workers can hold, None if unknown.
            partial: The answer so far, which the call reads and goes on with.

        Raises:
            BudgetExhausted: The worst case does not fit into what is left.
        """
        deadline = self.budget.deadline
        if self._clock() >= deadline:
            raise self._exhausted("deadline")
        cap, worst = request.max_tokens, Usage()
        call = Call(self._next_id, request, purpose, deadline, sample, cap, top_logprobs, partial)
        kept = self._kept.find(tier, call)
        if kept is None:
            share = 1 + self._kept.fresh(tier, call, range(1, share))
            cap, worst = self._worst(tier, call, share, context_length or UNKNOWN_CONTEXT)
            call = replace(call, max_tokens=cap)
        self._next_id += 1
        self._entries[call.id] = _Entry(call, tier, purpose, worst, worst, kept=kept)
        return call

    def room(  # noqa: PLR0913 - as `reserve`
        self,
        tier: str,
        request: ChatRequest,
        most: int,
        *,
        first: int = 0,
        top_logprobs: int | None = None,
        judging: int = 0,
        spare: int = 0,
    ) -> int:
        """Return how many samples there are calls for; kept ones need none of their own.

        Args:
            tier: Tier to be called.
            request: What will be asked.
            most: Samples at most.
            first: Index of the first.
            top_logprobs: As `reserve` has it.
            judging: Further calls that each sample takes.
            spare: Calls to leave for others.
        """
        left = self.calls_left - spare
        call = Call(-1, request, "sample", 0.0, first, None, top_logprobs)
        for number in range(most):
            left -= judging + (self._kept.find(tier, call, number) is None)
            if left < 0:
                return number
        return max(0, most)

    def gives(self, call: Call) -> bool:
        """Whether a reserved call gets what an earlier run has made."""
        return self._entries[call.id].kept is not None

    def taken(self, call: Call) -> Completion | None:
        """Take the completion that a reserved call gets for nothing, None where it must ask."""
        kept = self._entries[call.id].kept
        if kept is None:
            return None
        self.resumed.append(kept)
        return replace(kept, call_id=call.id)

    def answered(self, call: Call, completion: Completion) -> None:
        """Note a worker's whole answer for later runs, unless our own budget has cut it."""
        if not cut_off(call, completion):
            self._kept.note(self._entries[call.id].tier, call, completion)

    def shrink(self, call: Call, share: int) -> Call:
        """Leave a running call its share of what is left, so that others fit beside it.

        It keeps what it has sent at least and what was first reserved for it at most; nothing
        changes for one that has ended. Whoever reads it must end it at its new cap.

        Args:
            call: Already running, as it was reserved.
            share: Calls still to be reserved, this one included; it keeps 1/share.

        Returns:
            The call with the cap that it has now.

        Raises:
            BudgetExhausted: The budget does not hold so many.
        """
        entry = self._entries[call.id]
        if entry.charge is not None or entry.kept is not None:
            return call
        entry.worst = Usage()
        try:
            fair = self._fair_tokens(entry.tier, entry.whole.prompt_tokens, share)
        finally:
            entry.worst = entry.whole
        kept = max(fair, entry.sent.completion_tokens)
        entry.call = call
        if kept < entry.whole.completion_tokens:
            entry.call = replace(call, max_tokens=kept)
            entry.worst = replace(entry.whole, completion_tokens=kept)
        return entry.call

    def note(self, call: Call, sent: Usage) -> None:
        """Say what a running call has sent so far: what it would cost to cancel it now."""
        self._entries[call.id].sent = sent

    def commit(self, call: Call, usage: Usage) -> None:
        """Charge what a call really spent, in place of its reservation.

        Raises:
            RuntimeError: The call was committed or released before.
        """
        entry = self._entries.get(call.id)
        if entry is None or entry.charge is not None:
            raise RuntimeError(f"call {call.id} is settled already")
        entry.charge = Charge(
            call.id, entry.tier, entry.purpose, usage, self._price(entry.tier).cost(usage)
        )

    def release(self, call: Call) -> None:
        """Give back the reservation of a call that spent nothing; nothing if it is settled."""
        entry = self._entries.get(call.id)
        if entry is not None and entry.charge is None:
            del self._entries[call.id]

    def mark(self, call: Call, purpose: Purpose) -> None:
        """Say what a call turned out to be for."""
        entry = self._entries.get(call.id)
        if entry is None:
            return
        entry.purpose = purpose
        if entry.charge is not None:
            entry.charge = replace(entry.charge, purpose=purpose)

    def affords(  # noqa: PLR0913 - as `reserve`
        self,
        tier: str,
        request: ChatRequest,
        *,
        without: Call | None = None,
        share: int = 1,
        context_length: int | None = None,
        partial: str = "",
    ) -> bool:
        """Whether `share` more calls on `tier` would fit if `without` were cancelled now."""
        kept, self._entries = self._entries, dict(self._entries)
        if without is not None:
            running = kept[without.id]
            self._entries[without.id] = replace(running, worst=running.sent)
        try:
            self.reserve(
                tier,
                request,
                "answer",
                share=share,
                context_length=context_length,
                partial=partial,
            )
        except BudgetExhausted:
            return False
        finally:
            self._entries = kept
        return True

    def cut(self, completion: Completion) -> bool:
        """Whether a call ended at the budget's cap, not at the client's own or the model's end."""
        entry = self._entries.get(completion.call_id)
        return entry is not None and cut_off(entry.call, completion)

    @property
    def calls_left(self) -> int:
        """Calls that may still be reserved."""
        return self.budget.max_calls - sum(e.kept is None for e in self._entries.values())

    @property
    def charges(self) -> tuple[Charge, ...]:
        """Every committed call, in the order of reservation."""
        return tuple(e.charge for e in self._entries.values() if e.charge is not None)

    def _worst(self, tier: str, call: Call, share: int, context: int) -> tuple[int | None, Usage]:
        """Return the cap to send (None for none) and the most that the call can spend."""
        if self.calls_left < share:
            raise self._exhausted("max_calls")
        request, bound = call.request, prompt_bound(call.request, call.partial)
        prompt = min(bound, context) if not request.has_images else context
        fair = self._fair_tokens(tier, prompt, share)
        generated = min(fair, context if request.max_tokens is None else request.max_tokens)
        cap: int | None = generated
        if request.max_tokens is None:
            # Workers refuse a cap that does not fit beside the prompt, so none is sent unless
            # the budget is what binds; two bytes a token is a safe guess of the prompt's size.
            cap = None if fair >= context else min(generated, max(16, context - prompt // 2))
        most = generated if cap is None else cap
        return cap, Usage(prompt_tokens=prompt, completion_tokens=most, calls=1)

    def _fair_tokens(self, tier: str, prompt_tokens: int, share: int) -> int:
        """Return how many tokens one of `share` calls may generate; at least 1."""
        held = [(e.charge.usage if e.charge else e.worst) for e in self._entries.values()]
        left = self.budget.max_generated_tokens - sum(usage.completion_tokens for usage in held)
        if left < share:
            raise self._exhausted("max_generated_tokens")
        fair = left // share
        if self.budget.max_cost_usd is None:
            return fair
        spent = sum(
            self._price(e.tier).cost(u) for e, u in zip(self._entries.values(), held, strict=True)
        )
        price = self._price(tier)
        money = (self.budget.max_cost_usd - spent) / share
        money -= price.cost(Usage(prompt_tokens=prompt_tokens))
        if money < 0 or (price.completion and money * 1e6 < price.completion):
            raise self._exhausted("max_cost_usd")
        return min(fair, int(money * 1e6 / price.completion)) if price.completion else fair

    def _exhausted(self, limit: Limit) -> BudgetExhausted:
        self.exhausted = limit
        self.refusals += 1
        return BudgetExhausted(limit)

    def _price(self, tier: str) -> Price:
        return self._prices.get(tier, Price())
