"""Builders of the values that tests work on, and ways to read what comes of them."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import aclosing
from dataclasses import replace
from random import Random
from typing import Any, TypeVar

from entroute.backends.metered import Metered, Stopwatch
from entroute.calls import CallStream
from entroute.decisions import Decision
from entroute.evidence import Outcome, Trace
from entroute.ledger import Ledger
from entroute.opening import Ask
from entroute.protocols import OutcomeStream, Run, Strategy, Tier
from entroute.spending import Budget, Price, Usage
from entroute.types import (
    Call,
    ChatRequest,
    Completion,
    Delta,
    Options,
    Principal,
)
from tests.scripted import PROMPT_TOKENS, FakeBackend, FakeClock, Script

E = TypeVar("E", bound=Exception)


def a_request(text: str = "What is 6 times 7?", **facts: Any) -> ChatRequest:
    """Return a chat of one user message."""
    facts.setdefault("model", "auto")
    return ChatRequest(messages=({"role": "user", "content": text},), **facts)


def a_call(request: ChatRequest | None = None, **facts: Any) -> Call:
    """Return a call that no ledger knows, with a deadline far away."""
    facts.setdefault("deadline", 1e12)
    return Call(0, request or a_request(), "answer", **facts)


def a_completion(content: str = "42", **facts: Any) -> Completion:
    """Return a finished sample."""
    facts.setdefault("usage", Usage(PROMPT_TOKENS, 0, 3, 1))
    facts.setdefault("tier", "small")
    return Completion(content, facts.pop("finish_reason", "stop"), **facts)


def a_trace(**facts: Any) -> Trace:
    """Return a trace that was opened at second 100."""
    return Trace("r-1", "chat", 100.0, **facts)


def an_ask(
    request: ChatRequest | None = None,
    options: Options | None = None,
    principal: Principal | None = None,
    **facts: Any,
) -> Ask:
    """Return what the edge hands over; `facts` are the trace's."""
    return Ask(
        request or a_request(), options or Options(), principal or Principal(), a_trace(**facts)
    )


def a_budget(**limits: Any) -> Budget:
    """Return a budget that is hard to spend."""
    limits.setdefault("max_calls", 16)
    limits.setdefault("max_generated_tokens", 1_000_000)
    limits.setdefault("deadline", 1e12)
    return Budget(**limits)


def a_tier(name: str, backend: FakeBackend | Script | None = None, **facts: Any) -> Tier:
    """Return a tier; a script is what all its calls do."""
    made = backend if isinstance(backend, FakeBackend) else FakeBackend(backend or Script())
    made._tier = name
    return Tier(name, f"{name}-model", made, **facts)


def a_run(*tiers: Tier, **facts: Any) -> Run:
    """Return a run decided on its first tier, whose backends charge its ledger.

    `facts` are the run's, and `budget`, `strategy` or `decision`.
    """
    clock: Callable[[], float] = facts.pop("clock", FakeClock())
    prices: dict[str, Price] = {tier.name: tier.price for tier in tiers}
    ledger = Ledger(facts.pop("budget", a_budget()), prices, clock)
    trace = facts.pop("trace", None) or a_trace()
    strategy = facts.pop("strategy", "single")
    trace.decision = facts.pop("decision", None) or Decision(tiers[0].name, strategy, "test")
    watch = Stopwatch(trace, clock)
    facts.setdefault("request", a_request())
    facts.setdefault("options", Options())
    facts.setdefault("principal", Principal())
    return Run(
        tiers=tuple(replace(t, backend=Metered(t.backend, ledger, watch)) for t in tiers),
        ledger=ledger,
        trace=trace,
        clock=clock,
        rng=Random(0),  # noqa: S311 - a test repeats itself
        **facts,
    )


def refused(strategy: Strategy, run: Run) -> str | None:
    """Return the field that a strategy refuses, or None."""
    refusal = strategy.supports(run)
    return None if refusal is None else refusal.param


def backend_of(tier: Tier) -> FakeBackend:
    """Return a tier's fake, as `a_tier` made it."""
    assert isinstance(tier.backend, FakeBackend)
    return tier.backend


async def read(stream: CallStream) -> tuple[list[Delta], Completion]:
    """Read a call's stream: its deltas and its completion."""
    async with aclosing(stream) as pieces:
        items = [piece async for piece in pieces]
    assert isinstance(items[-1], Completion)
    deltas = [item for item in items if isinstance(item, Delta)]
    assert len(deltas) == len(items) - 1
    return deltas, items[-1]


async def read_outcome(stream: OutcomeStream) -> tuple[str, Outcome]:
    """Read a strategy's or the gateway's stream: the released text and its outcome."""
    async with aclosing(stream) as pieces:
        items = [piece async for piece in pieces]
    assert isinstance(items[-1], Outcome)
    return text_of(items[:-1]), items[-1]


def text_of(items: Iterable[object]) -> str:
    """Return the text of deltas."""
    return "".join(item.content for item in items if isinstance(item, Delta))


async def read_until(stream: CallStream, error: type[E]) -> tuple[list[Delta | Completion], E]:
    """Read a stream that must end in an error: the pieces before it, and the error."""
    pieces: list[Delta | Completion] = []
    try:
        async with aclosing(stream) as items:
            async for item in items:
                pieces.append(item)  # noqa: PERF401 - what came before the error counts
    except error as caught:
        return pieces, caught
    raise AssertionError(f"no {error.__name__} was raised")


async def until(condition: Callable[[], bool], *, within_s: float = 2.0) -> None:
    """Wait until something holds that nothing tells us of, `within_s` seconds at most."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.001)


async def settle() -> None:
    """Let every task that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)
