"""A tier that embeds, and one request's way through it: batches, charges, the budget."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from entroute.backends.embedding import Embedded, EmbeddingCall, EmbeddingPool, Input, Vector
from entroute.backends.metered import Spent, Stopwatch
from entroute.backends.pool import NobodyAsked
from entroute.errors import BudgetExhausted
from entroute.evidence import Trace
from entroute.priorities import ANYBODY, Turn
from entroute.spending import Budget, Charge, Price, Usage

_SPECIAL_TOKENS = 8  # more than any model puts around a text


@dataclass(frozen=True, slots=True)
class EmbeddingTier:
    """One tier that embeds.

    Attributes:
        name: As configured.
        model: The model its workers serve.
        pool: Its workers.
        price: Of its tokens.
        dimensions: Length of its vectors where it is declared.
        max_inputs: Most inputs that one call may hold, at least 1.
        context_length: Most tokens of an input, None if unknown.
    """

    name: str
    model: str
    pool: EmbeddingPool
    price: Price = field(default_factory=Price)
    dimensions: int | None = None
    max_inputs: int = 256
    context_length: int | None = None

    def most_tokens(self, inputs: Sequence[Input]) -> int:
        """Return an upper bound of the tokens of inputs: no token is shorter than a byte."""
        bounds = (
            len(one) if isinstance(one, tuple) else len(one.encode()) + _SPECIAL_TOKENS
            for one in inputs
        )
        most = self.context_length
        return sum(bound if most is None else min(bound, most) for bound in bounds)


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """What was asked, free of wire format.

    Attributes:
        inputs: What to embed, at least one.
        base64: Whether vectors are wanted in base64.
        dimensions: Length that vectors must have, or None for the model's own.
        extra: Every other field, passed to the workers untouched.
        salt: Keeps a tenant's prefix cache apart from others', "" for none.
        turn: How urgent it is, and whose, where calls wait.
    """

    inputs: tuple[Input, ...]
    base64: bool = False
    dimensions: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    salt: str = ""
    turn: Turn = ANYBODY


class Embedding:
    """One request: its batches, all of which must succeed, and what they cost.

    Args:
        tier: Who embeds.
        budget: Hard limits of the request.
        trace: Takes the charges.
        stopwatch: Takes the time upstream.
    """

    def __init__(
        self, tier: EmbeddingTier, budget: Budget, trace: Trace, stopwatch: Stopwatch
    ) -> None:
        self._tier = tier
        self._budget = budget
        self._trace = trace
        self._stopwatch = stopwatch

    async def vectors(self, request: EmbeddingRequest) -> tuple[Vector, ...]:
        """Return one vector an input, same order; as many batches at once as there are workers.

        Raises:
            BudgetExhausted: The budget does not hold it; nothing was spent.
            CallFailed, WorkerRejected, DeadlineExceeded: A batch failed; what the others spent is
                charged as discarded.
        """
        calls = self._calls(request)
        room = asyncio.Semaphore(max(1, self._tier.pool.load.healthy))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._one(n, c, room)) for n, c in enumerate(calls)]
        except BaseExceptionGroup as failures:
            self._discard()
            raise failures.exceptions[0] from failures
        return tuple(vector for task in tasks for vector in task.result().vectors)

    def _calls(self, request: EmbeddingRequest) -> list[EmbeddingCall]:
        most, inputs = self._tier.max_inputs, request.inputs
        batches = [inputs[start : start + most] for start in range(0, len(inputs), most)]
        if len(batches) > self._budget.max_calls:
            raise BudgetExhausted("max_calls")
        worst = self._tier.price.cost(Usage(prompt_tokens=self._tier.most_tokens(inputs)))
        if self._budget.max_cost_usd is not None and worst > self._budget.max_cost_usd:
            raise BudgetExhausted("max_cost_usd")
        return [
            EmbeddingCall(
                batch,
                self._budget.deadline,
                request.base64,
                request.dimensions,
                request.extra,
                request.salt,
                request.turn,
            )
            for batch in batches
        ]

    async def _one(self, number: int, call: EmbeddingCall, room: asyncio.Semaphore) -> Embedded:
        async with room:
            span = self._stopwatch.span(number, "embeddings", self._tier.model, call=call)
            spent = Spent(self._stopwatch, span=span)  # of a call cut off nothing is known
            call = replace(call, turn=replace(call.turn, watch=spent, span=span))
            try:
                with self._stopwatch:
                    embedded = await self._tier.pool.embed(call)
                spent.answered(embedded, embedded.usage)
                spent.ended()
            except BaseException as error:
                spent.unsent = spent.unsent or isinstance(error, NobodyAsked)
                spent.ended(error)
                raise
            finally:
                if not spent.unsent:
                    self._charge(number, spent.usage)
        if not spent.usage.prompt_tokens:
            self._trace.degrade("usage")
        return embedded

    def _charge(self, number: int, usage: Usage) -> None:
        cost = self._tier.price.cost(usage)
        charge = Charge(number, self._tier.name, "answer", usage, cost)
        self._trace.charges = (*self._trace.charges, charge)

    def _discard(self) -> None:
        charges = self._trace.charges
        self._trace.charges = tuple(replace(charge, purpose="discarded") for charge in charges)
