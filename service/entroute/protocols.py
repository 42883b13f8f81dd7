"""Every seam on one page, one verb each; and `Run`, what a request carries through the walk."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol, runtime_checkable

from entroute.calls import CallStream, Head
from entroute.decisions import Decision, Estimate, Load, WorkerLoad
from entroute.errors import ConfigurationError
from entroute.evidence import Outcome, Refusal, Trace, Verdict
from entroute.execution import Execution, Repeat
from entroute.ledger import Ledger
from entroute.spending import Price, Purpose
from entroute.types import EMPTY, Call, ChatRequest, Completion, Delta, Options, Principal

Clock = Callable[[], float]
"""Monotonic seconds."""

OutcomeStream = AsyncGenerator[Delta | Outcome, None]
"""Released deltas, never retracted, then exactly one Outcome."""


class Backend(Protocol):
    """Something that answers calls: a worker, a pool of them, or a wrapper around one."""

    async def complete(self, call: Call) -> Completion:
        """Answer at once.

        Raises:
            CallFailed: The worker failed, or there is none to call.
            WorkerRejected: The worker found the request wrong.
            DeadlineExceeded: The call's deadline passed.
        """
        ...

    def stream(self, call: Call) -> CallStream:
        """Answer piece by piece; closing it cancels the call upstream; raises as `complete`."""
        ...


class Cache(Protocol):
    """A store of finished answers."""

    async def get(self, key: str) -> Outcome | None:
        """Return the stored outcome or None.

        Raises:
            StoreUnavailable: The store cannot answer within its budget.
        """
        ...

    async def put(self, key: str, outcome: Outcome, stamps: Mapping[str, str] = EMPTY) -> bool:
        """Store an outcome with the stamps of its tags; return whether; raises as `get`."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Estimator(Protocol):
    """Says how hard a prompt is."""

    async def estimate(self, run: "Run") -> Estimate:
        """Return an estimate; abstain rather than fail."""
        ...


class Policy(Protocol):
    """Picks tier and strategy; pure."""

    def decide(self, run: "Run", estimate: Estimate, load: Load) -> Decision:
        """Return what to spend; raises TierUnavailable where no tier has a worker."""
        ...


class Strategy(Protocol):
    """Spends compute on one request."""

    @property
    def name(self) -> str:
        """The name clients and metrics know it by."""
        ...

    def supports(self, run: "Run") -> Refusal | None:
        """Return what of this request the strategy cannot honour, or None."""
        ...

    async def run(self, run: "Run") -> Outcome:
        """Return the answer and its evidence; raises as `Backend.complete`, or BudgetExhausted."""
        ...


@runtime_checkable
class Streams(Protocol):
    """A strategy that can release its answer while it is made."""

    def stream(self, run: "Run") -> OutcomeStream:
        """Release deltas, then the outcome; the same rule as `run`."""
        ...


class Verifier(Protocol):
    """Judges candidates."""

    @property
    def name(self) -> str:
        """The name clients and metrics know it by."""
        ...

    @property
    def top_logprobs(self) -> int | None:
        """Alternatives a token it must see in candidates, None where it needs none."""
        ...

    @property
    def compares(self) -> bool:
        """Whether a candidate's score depends on the others."""
        ...

    @property
    def calls(self) -> int:
        """Model calls that judging one candidate costs at most."""
        ...

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        """Return one verdict a candidate, same length and order; abstain rather than fail."""
        ...


class Sandbox(Protocol):
    """Runs programs that a model wrote where they can do no harm."""

    async def run(
        self, source: str, *, stdin: str = "", wall_s: float = 10.0, repeat: Repeat | None = None
    ) -> Execution:
        """Run Python source to its end, for `wall_s` seconds at most; its failure is no error.

        Raises:
            SandboxUnavailable: Nothing could be run.
        """
        ...


class WorkerView(Protocol):
    """What a balancer may know of a worker."""

    @property
    def url(self) -> str:
        """Base URL, by which gateways that share nothing know it."""
        ...

    @property
    def in_flight(self) -> int:
        """Calls of this gateway that the worker is answering."""
        ...

    @property
    def weight(self) -> float:
        """Share of its usual calls that it should take, above 0, at most 1."""
        ...

    @property
    def load(self) -> WorkerLoad | None:
        """What it last said of its load, None where it does not say."""
        ...


class Balancer(Protocol):
    """Picks a worker."""

    def pick(self, workers: Sequence[WorkerView], call: Call | None, /) -> int:
        """Return the index, of at least one worker, to call; for `call` unless it embeds."""
        ...

    def forget(self, url: str, /) -> None:
        """Forget a worker that is gone."""
        ...


@dataclass(frozen=True, slots=True)
class Tier:
    """One tier as a request sees it.

    Attributes:
        name: As configured.
        model: The model its workers serve.
        backend: Where its calls go.
        price: Of its tokens.
        context_length: Tokens its workers can hold, None if unknown.
        vision: Whether it takes images.
        tools: Whether it takes tools.
        available: Whether it has a worker that can be called.
        continues: Whether its workers can go on with a partial answer.
        fills: Whether it can fill in before a suffix.
        echoes: Whether its workers tell the log-probabilities of a prompt.
    """

    name: str
    model: str
    backend: Backend
    price: Price = field(default_factory=Price)
    context_length: int | None = None
    vision: bool = False
    tools: bool = True
    available: bool = True
    continues: bool = False
    fills: bool = False
    echoes: bool = False

    def fits(self, request: ChatRequest) -> bool:
        """Whether the tier declares what the request needs."""
        return (
            (self.vision or not request.has_images)
            and (self.tools or not request.has_tools)
            and (self.fills or request.suffix is None)
            and (self.echoes or not request.reads_prompt)
        )


@dataclass(slots=True)
class Run:
    """One request on its way through the walk.

    Attributes:
        request: What was asked.
        options: entroute's own options.
        principal: Who asks.
        tiers: Tiers the principal may use, cheapest first; their backends charge the ledger.
        ledger: What is spent.
        trace: The story so far.
        clock: Monotonic seconds.
        rng: Source of every random choice.
        pinned: Tier the client named, or None under `auto`.
        verifier: The verifier the client sent, or None.
        head: A probe's live stream, until a strategy takes it.
    """

    request: ChatRequest
    options: Options
    principal: Principal
    tiers: tuple[Tier, ...]
    ledger: Ledger
    trace: Trace
    clock: Clock
    rng: Random
    pinned: str | None = None
    verifier: Verifier | None = None
    head: Head | None = None

    @property
    def decision(self) -> Decision:
        """Step 3's result; only strategies and later steps may ask for it."""
        if self.trace.decision is None:
            raise RuntimeError("the decision is not made yet")
        return self.trace.decision

    def tier(self, name: str) -> Tier:
        """Return a tier by name.

        Raises:
            ConfigurationError: There is none of that name for this principal.
        """
        for tier in self.tiers:
            if tier.name == name:
                return tier
        raise ConfigurationError(f"no tier is named '{name}'")

    def above(self, tier: Tier) -> Tier | None:
        """Return the next larger tier that fits the request and has a worker, or None."""
        larger = self.tiers[self.tiers.index(tier) + 1 :]
        return next((t for t in larger if t.available and t.fits(self.request)), None)

    def substitutes(self, tier: Tier) -> tuple[Tier, ...]:
        """Return what may answer in a tier's place, larger tiers first; none if it is pinned."""
        if self.pinned is not None:
            return ()
        place = self.tiers.index(tier)
        others = (*self.tiers[place + 1 :], *reversed(self.tiers[:place]))
        return tuple(t for t in others if t.available and t.fits(self.request))

    def reserve(
        self, tier: Tier, purpose: Purpose, *, request: ChatRequest | None = None, **facts: Any
    ) -> Call:
        """Reserve a call, of the client's request unless given; `facts` are `Ledger.reserve`'s.

        Raises:
            BudgetExhausted: The worst case does not fit into what is left.
        """
        facts["context_length"] = tier.context_length
        return self.ledger.reserve(tier.name, request or self.request, purpose, **facts)

    def affords(
        self,
        tier: Tier,
        *,
        without: Call | None = None,
        request: ChatRequest | None = None,
        partial: str = "",
    ) -> bool:
        """Whether an answer on `tier`, as `reserve` has it, fits if `without` were cancelled."""
        return self.ledger.affords(
            tier.name,
            request or self.request,
            without=without,
            share=self.request.n,
            context_length=tier.context_length,
            partial=partial,
        )

    async def close(self) -> None:
        """Cancel what is left of a probe that no strategy took."""
        head, self.head = self.head, None
        if head is not None:
            await head.close()
