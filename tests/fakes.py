"""Fakes that satisfy the protocols, and builders of the values they work on."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from math import log
from random import Random
from typing import Any

import pytest_asyncio

from entroute.backends.metered import Metered, Stopwatch
from entroute.calls import CallStream, collect
from entroute.errors import CacheUnavailable
from entroute.evidence import Decision, Estimate, Load, Outcome, Trace, Verdict
from entroute.ledger import Ledger
from entroute.opening import Ask
from entroute.protocols import OutcomeStream, Run, Tier, Verifier
from entroute.spending import Budget, Price, Usage
from entroute.types import (
    Call,
    ChatRequest,
    Completion,
    Delta,
    Options,
    Principal,
    TokenLogprob,
)
from entroute.verifiers.symbolic import SymbolicEquality

PROMPT_TOKENS = 10
"""What every fake call reads."""

SURE = 0.999
UNSURE = 0.5  # entropy ln 2 and so a confidence of 0.5


@pytest_asyncio.fixture(autouse=True)
async def no_task_left() -> AsyncIterator[None]:
    """Check that a test ends every task it started; conftests name it."""
    yield
    await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, left


@dataclass(slots=True)
class FakeClock:
    """Monotonic seconds that pass when told."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def token(logprob: float, tops: Sequence[float] = (), text: str = "w") -> TokenLogprob:
    """Return one token as OpenAI's chat schema has it, log-probabilities in nats."""
    ranked = [{"token": f"{text}{rank}", "logprob": p, "bytes": []} for rank, p in enumerate(tops)]
    return {"token": text, "logprob": logprob, "bytes": [], "top_logprobs": ranked}


def coin(p: float, text: str = "w") -> TokenLogprob:
    """Return a token of probability `p` where one other token has the rest."""
    return token(log(p), sorted((log(p), log(1 - p)), reverse=True), text)


@dataclass(frozen=True, slots=True)
class Script:
    """What one fake call does; its pieces are one token each.

    Attributes:
        pieces: The answer's text.
        p: Probability of each token, in (0, 1).
        error: Raised after `until` pieces.
        until: How many pieces come before the error or the hang, None for all.
        hangs: Whether it waits for ever after `until` pieces.
        gate: Awaited before the first piece.
        prompt_tokens: What the call reads.
        extra: Other fields of the message.
        finish_reason: Why it ends.
    """

    pieces: tuple[str, ...] = ("6 times ", "7 is ", "42")
    p: float = SURE
    error: Exception | None = None
    until: int | None = None
    hangs: bool = False
    gate: asyncio.Event | None = None
    prompt_tokens: int = PROMPT_TOKENS
    extra: Mapping[str, Any] = field(default_factory=dict)
    finish_reason: str = "stop"


def says(*pieces: str, **facts: Any) -> Script:
    """Return the script of an answer."""
    return Script(pieces, **facts)


def unsure(*pieces: str, **facts: Any) -> Script:
    """Return the script of an answer that hesitates at every token."""
    return Script(pieces, p=UNSURE, **facts)


def fails(error: Exception, *, after: int = 0, **facts: Any) -> Script:
    """Return the script of a call that fails after some pieces."""
    return Script(error=error, until=after, **facts)


def hangs(after: int = 0, **facts: Any) -> Script:
    """Return the script of a call that never ends by itself."""
    return Script(hangs=True, until=after, **facts)


class FakeBackend:
    """Answers calls by scripts, one a call, the last one for all further calls.

    Attributes:
        calls: Every call, in order.
        cancelled: Ids of the calls that were given up before they ended.
        running: Calls that are being answered.
    """

    def __init__(
        self,
        *scripts: Script,
        tier: str = "small",
        logprobs: bool = True,
        continuous: bool = True,
        clock: FakeClock | None = None,
    ) -> None:
        self.calls: list[Call] = []
        self.cancelled: list[int] = []
        self.running = 0
        self._scripts = scripts or (Script(),)
        self._tier = tier
        self._logprobs = logprobs
        self._continuous = continuous
        self._clock = clock

    async def complete(self, call: Call) -> Completion:
        """Answer at once."""
        return await collect(self.stream(call))

    async def stream(self, call: Call) -> CallStream:
        """Answer piece by piece; a piece takes a second of the fake clock."""
        script = self._scripts[min(len(self.calls), len(self._scripts) - 1)]
        self.calls.append(call)
        self.running += 1
        try:
            async with aclosing(self._pieces(script, call)) as pieces:
                async for piece in pieces:
                    yield piece
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled.append(call.id)
            raise
        finally:
            self.running -= 1

    async def _pieces(self, script: Script, call: Call) -> CallStream:
        if script.gate is not None:
            await script.gate.wait()
        made: list[Delta] = []
        until = len(script.pieces) if script.until is None else script.until
        cap = len(script.pieces) if call.max_tokens is None else call.max_tokens
        for text in script.pieces[: min(until, cap)]:
            await asyncio.sleep(0)
            if self._clock is not None:
                self._clock.advance(1.0)
            made.append(self._delta(script, call, text, len(made) + 1))
            yield made[-1]
        if script.error is not None:
            await asyncio.sleep(0)
            raise script.error
        if script.hangs:
            await asyncio.Event().wait()
        yield self._completion(script, call, made)

    def _delta(self, script: Script, call: Call, text: str, made: int) -> Delta:
        wanted = call.top_logprobs is not None or call.request.logprobs
        usage = Usage(script.prompt_tokens, 0, made, 1) if self._continuous else None
        tokens = (coin(script.p, text),) if wanted and self._logprobs else ()
        return Delta(text, logprobs=tokens, usage=usage, tier=self._tier)

    def _completion(self, script: Script, call: Call, made: Sequence[Delta]) -> Completion:
        return Completion(
            content="".join(delta.content for delta in made),
            finish_reason=script.finish_reason,
            usage=Usage(script.prompt_tokens, 0, len(made), 1),
            tier=self._tier,
            model=f"{self._tier}-model",
            worker="http://fake/v1",
            extra=script.extra,
            logprobs=tuple(entry for delta in made for entry in delta.logprobs),
            call_id=call.id,
        )


class FakeCache:
    """A store in a dictionary; raises CacheUnavailable while it is dead."""

    def __init__(self, *, dead: bool = False) -> None:
        self.stored: dict[str, Outcome] = {}
        self.dead = dead

    async def get(self, key: str) -> Outcome | None:
        """Return the stored outcome or None."""
        self._check()
        return self.stored.get(key)

    async def put(self, key: str, outcome: Outcome) -> None:
        """Store an outcome."""
        self._check()
        self.stored[key] = outcome

    async def close(self) -> None:
        """Let go of nothing."""

    def _check(self) -> None:
        if self.dead:
            raise CacheUnavailable("the fake is dead")


class FakeEstimator:
    """Says what it was made to say; counts how often it was asked."""

    def __init__(self, difficulty: float | None = 0.5, *, checkable: str | None = None) -> None:
        self.asked = 0
        self._estimate = Estimate(difficulty, "fake", "made up", checkable=checkable)

    async def estimate(self, run: Run) -> Estimate:
        """Return the estimate."""
        self.asked += 1
        return self._estimate


class FakePolicy:
    """Decides what it was made to decide, or raises it."""

    def __init__(self, decision: Decision | Exception) -> None:
        self._decision = decision

    def decide(self, run: Run, estimate: Estimate, load: Load) -> Decision:
        """Return the decision."""
        if isinstance(self._decision, Exception):
            raise self._decision
        return self._decision


class FakeVerifier:
    """Scores each candidate by its content; abstains on what it was not told."""

    name = "fake"

    def __init__(self, scores: Mapping[str, float]) -> None:
        self._scores = scores

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        """Look the scores up."""
        return tuple(
            Verdict(self._scores[c.content], "told")
            if c.content in self._scores
            else Verdict(0.0, "not told", abstained=True)
            for c in candidates
        )


class FakeAlgebra(SymbolicEquality):
    """Knows the pairs of equal formulas it was told, without any child process."""

    def __init__(self, *equal: frozenset[str]) -> None:
        self.asked: list[frozenset[str]] = []
        self._equal = equal

    async def same(self, a: str, b: str) -> bool | None:
        """Look the pair up; abstain where it is not there."""
        self.asked.append(frozenset((a, b)))
        return True if frozenset((a, b)) in self._equal else None


@dataclass(slots=True)
class Recorded:
    """Keeps the traces it is given, as they were at that moment."""

    traces: list[Trace] = field(default_factory=list)

    def record(self, trace: Trace) -> None:
        """Keep one."""
        self.traces.append(replace(trace))


@dataclass(slots=True)
class FakeWorkerView:
    """A worker as balancers and gauges see it."""

    name: str = "127.0.0.1:1"
    in_flight: int = 0
    healthy: bool = True


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
        rng=Random(0),
        **facts,
    )


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


async def settle() -> None:
    """Let every task that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


def voter() -> Verifier:
    """Return the majority vote that `self_consistency` is built with."""
    from entroute.verifiers.majority import Majority

    return Majority(FakeAlgebra())
