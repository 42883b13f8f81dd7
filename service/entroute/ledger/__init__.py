"""The ledger of one request: reserve the worst case, commit exactly once, release on cancel.

It opens before difficulty is estimated, since a probe spends too. What is reserved and what is
committed never exceed the budget together, whatever fails, as long as workers honour max_tokens.
A call that an earlier run of the same prompt has made already is given out for nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from entroute.errors import BudgetExhausted, Limit
from entroute.ledger.bounds import UNKNOWN_CONTEXT, cut_off, prompt_bound, samples_held
from entroute.ledger.earlier import Earlier, Kept
from entroute.ledger.entries import Book, Entry
from entroute.shedding import NoShedding, Shed
from entroute.spending import Budget, Price, Purpose, Usage
from entroute.types import Call, ChatRequest, Completion

__all__ = ["UNKNOWN_CONTEXT", "Earlier", "Ledger", "cut_off", "prompt_bound"]


class Ledger(Book):
    """What one request has reserved and spent.

    Args:
        budget: Hard limits.
        prices: By tier name; a tier without a price costs nothing.
        clock: Monotonic seconds.
        shed: What load leaves of its calls; never too little for one answer.

    Attributes:
        exhausted: The limit that last refused a call, or None.
        refusals: How often one did.
        resumed: What was given out of earlier runs, in order.
    """

    def __init__(
        self,
        budget: Budget,
        prices: Mapping[str, Price],
        clock: Callable[[], float],
        shed: Shed | None = None,
    ) -> None:
        super().__init__(prices)
        self.budget = budget
        self.shed: Shed = shed or NoShedding()
        self._clock = clock
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
        self._entries[call.id] = Entry(call, tier, purpose, worst, worst, kept=kept)
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
        """Return how many samples there are calls for, fewer under load; kept ones need none.

        Args:
            tier: Tier to be called.
            request: What will be asked.
            most: Samples at most.
            first: Index of the first.
            top_logprobs: As `reserve` has it.
            judging: Further calls that each sample takes.
            spare: Calls to leave for others.
        """
        fresh = self._fresh(tier, request, most, first, top_logprobs)
        held = samples_held(fresh, self.calls_left - spare, judging)
        under_load = samples_held(fresh, self.calls_under_load(tier, first == 0) - spare, judging)
        if under_load < held:
            self.shed.note()
        return under_load

    def holds(self, tier: str, request: ChatRequest, samples: int) -> bool:
        """Whether there are calls for so many samples, whatever the load."""
        return samples_held(self._fresh(tier, request, samples), self.calls_left, 0) == samples

    def _fresh(
        self, tier: str, request: ChatRequest, most: int, first: int = 0, tops: int | None = None
    ) -> list[bool]:
        """Return which of some samples no earlier run has made."""
        call = Call(-1, request, "sample", 0.0, first, None, tops)
        return [self._kept.find(tier, call, number) is None for number in range(most)]

    def calls_under_load(self, tier: str, least: int) -> int:
        """Return the calls that may still fan out on a tier: of those left, `least` in any case."""
        most, left = self.budget.max_calls, self.calls_left
        return min(left, max(least, self.shed.calls(tier, most) - (most - left)))

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

    def twin(self, call: Call) -> Call | None:
        """Reserve what a running call was reserved with once more, for one that races it.

        None where that does not fit; nothing was cut short then, as the call itself goes on.
        """
        entry = self._entries[call.id]
        if self._clock() >= self.budget.deadline or self.calls_left < 1:
            return None
        if not self.shed.optional(entry.tier):
            return None
        held = [(e.tier, e.charge.usage if e.charge else e.worst) for e in self._entries.values()]
        held.append((entry.tier, entry.worst))
        tokens = sum(usage.completion_tokens for _, usage in held)
        cost = sum(self._price(tier).cost(usage) for tier, usage in held)
        most = self.budget.max_cost_usd
        if tokens > self.budget.max_generated_tokens or (most is not None and cost > most):
            return None
        twin = replace(call, id=self._next_id)
        self._next_id += 1
        self._entries[twin.id] = Entry(twin, entry.tier, entry.purpose, entry.worst, entry.whole)
        return twin

    def discard(self) -> None:
        """Say that nothing of what was asked so far reaches anyone; no call is running."""
        for entry in list(self._entries.values()):
            if entry.charge is None and entry.kept is None:
                self.release(entry.call)
            elif entry.purpose in {"answer", "sample"}:
                self.mark(entry.call, "discarded")

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
