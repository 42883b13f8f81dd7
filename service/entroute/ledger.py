"""The ledger of one request: reserve the worst case, commit exactly once, release on cancel.

It opens before difficulty is estimated, since a probe spends too. What is reserved and what is
committed never exceed the budget together, whatever fails, as long as workers honour max_tokens.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from entroute.errors import BudgetExhausted, Limit
from entroute.spending import Budget, Charge, Price, Purpose, Usage
from entroute.types import Call, ChatRequest, Completion

UNKNOWN_CONTEXT = 32_768
"""Tokens assumed for a worker that does not tell its context length."""

_TEMPLATE_BYTES = 64  # more than any chat template adds to a message


@dataclass(slots=True)
class _Entry:
    call: Call
    tier: str
    purpose: Purpose
    worst: Usage
    whole: Usage  # the worst case at first
    sent: Usage = field(default_factory=Usage)
    charge: Charge | None = None


class Ledger:
    """What one request has reserved and spent.

    Args:
        budget: Hard limits.
        prices: By tier name; a tier without a price costs nothing.
        clock: Monotonic seconds.

    Attributes:
        exhausted: The limit that last refused a call, or None.
        refusals: How often one did.
    """

    def __init__(
        self, budget: Budget, prices: Mapping[str, Price], clock: Callable[[], float]
    ) -> None:
        self.budget = budget
        self._prices = prices
        self._clock = clock
        self._entries: dict[int, _Entry] = {}
        self._next_id = 0
        self.exhausted: Limit | None = None
        self.refusals = 0

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
            share: Calls still to be reserved, this one included; it takes 1/share of what is left.
            sample: Index of the sample.
            top_logprobs: Alternatives a token to ask for, None for what the client asked.
            context_length: Tokens that the tier's workers can hold, None if unknown.
            partial: The answer so far, which the call reads and goes on with.

        Raises:
            BudgetExhausted: The worst case does not fit into what is left.
        """
        if self._clock() >= self.budget.deadline:
            raise self._exhausted("deadline")
        if self.calls_left < share:
            raise self._exhausted("max_calls")
        prompt = prompt_bound(request, partial)
        cap, worst = self._worst(tier, request, share, prompt, context_length or UNKNOWN_CONTEXT)
        deadline = self.budget.deadline
        call = Call(self._next_id, request, purpose, deadline, sample, cap, top_logprobs, partial)
        self._next_id += 1
        self._entries[call.id] = _Entry(call, tier, purpose, worst, worst)
        return call

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
        if entry.charge is not None:
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
        return self.budget.max_calls - len(self._entries)

    @property
    def charges(self) -> tuple[Charge, ...]:
        """Every committed call, in the order of reservation."""
        return tuple(e.charge for e in self._entries.values() if e.charge is not None)

    def _worst(
        self, tier: str, request: ChatRequest, share: int, bound: int, context: int
    ) -> tuple[int | None, Usage]:
        """Return the cap to send (None for none) and the most that the call can spend."""
        prompt = min(bound, context) if not request.has_images else context
        fair = self._fair_tokens(tier, prompt, share)
        generated = min(fair, request.max_tokens or context)
        cap: int | None = generated
        if request.max_tokens is None:
            # Workers refuse a cap that does not fit beside the prompt, so none is sent unless
            # the budget is what binds; two bytes a token is a safe guess of the prompt's size.
            cap = None if fair >= context else min(generated, max(16, context - prompt // 2))
        return cap, Usage(prompt_tokens=prompt, completion_tokens=cap or generated, calls=1)

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


def cut_off(call: Call, completion: Completion) -> bool:
    """Whether a call ended at a cap of its own, lower than the client's."""
    asked = call.request.max_tokens
    ours = call.max_tokens is not None and (asked is None or call.max_tokens < asked)
    return ours and completion.finish_reason == "length"


def prompt_bound(request: ChatRequest, partial: str = "") -> int:
    """Return an upper bound of a request's prompt tokens: no token is shorter than a byte.

    The answer so far, where there is one, is one more message to read.
    """
    declared = sum(
        len(str(request.extra[key]))
        for key in ("tools", "functions", "response_format")
        if key in request.extra
    )
    calls = sum(len(str(message.get("tool_calls", ""))) for message in request.messages)
    parts = max(1, len(request.messages)) + bool(partial)
    text = len(request.text.encode()) + len(partial.encode())
    return text + declared + calls + parts * _TEMPLATE_BYTES
