"""Two calls race for one answer: whatever they do, one wins, both are charged, once."""

import asyncio
from contextlib import aclosing
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from entroute.backends.hedging import Hedged, Hedging
from entroute.backends.metered import Metered, Stopwatch
from entroute.backends.pool import NobodyAsked
from entroute.backends.retrying import Retries, Retrying
from entroute.calls import CallStream
from entroute.errors import BudgetExhausted, EntrouteError, WorkerFailed, WorkerRejected
from entroute.ledger import Ledger
from entroute.spending import Price
from entroute.types import Call, Completion
from tests.builders import a_budget, a_request, a_trace, settle
from tests.scripted import FakeBackend, FakeClock, Script, collect, fails, hangs, says

FAILED = WorkerFailed("w", "answered 500")
REJECTED = WorkerRejected("w", "no", status=400, param=None, code=None)
SCRIPTS = st.sampled_from(
    [
        says("a", "b", "c"),
        says("a"),
        hangs(),
        hangs(after=1),
        fails(FAILED),
        fails(FAILED, after=1),
        fails(REJECTED),
    ]
)
PRICE = Price(1.0, 2.0)


class TwoWorkers:
    """Puts a call on the first worker, one that races it on the second; notes what they sent."""

    def __init__(self, first: Script, second: Script) -> None:
        self.workers = (FakeBackend(first), FakeBackend(second))
        self.sent = [0, 0]

    async def complete(self, call: Call) -> Completion:
        """Answer at once."""
        return await collect(self.stream(call))

    async def stream(self, call: Call) -> CallStream:
        """Answer piece by piece."""
        assert call.placement is not None
        left = [n for n in (0, 1) if not call.placement.taken(str(n), call.id)]
        if not left:
            raise NobodyAsked("small")
        call.placement.asked[call.id] = str(left[0])
        async with aclosing(self.workers[left[0]].stream(call)) as pieces:
            async for piece in pieces:
                if not isinstance(piece, Completion):
                    self.sent[left[0]] += 1
                yield piece


async def asked(backend: Metered, call: Call, *, stream: bool) -> list[Completion] | EntrouteError:
    try:
        if not stream:
            return [await backend.complete(call)]
        async with aclosing(backend.stream(call)) as pieces:
            return [piece async for piece in pieces if isinstance(piece, Completion)]
    except EntrouteError as error:
        return error


@settings(max_examples=300, deadline=None)
@given(
    first=SCRIPTS,
    second=SCRIPTS,
    stream=st.booleans(),
    turns=st.integers(1, 30),
    calls=st.integers(1, 3),
    tokens=st.integers(1, 12),
    dollars=st.one_of(st.none(), st.floats(0, 0.0002)),
    retries=st.sampled_from([0.0, 0.1]),
)
async def test_a_race_charges_each_call_once_and_never_more_than_the_budget(  # noqa: PLR0917
    first: Script,
    second: Script,
    stream: bool,  # noqa: FBT001
    turns: int,
    calls: int,
    tokens: int,
    dollars: float | None,
    retries: float,
) -> None:
    clock, workers = FakeClock(), TwoWorkers(first, second)
    budget = a_budget(max_calls=calls, max_generated_tokens=tokens, max_cost_usd=dollars)
    ledger = Ledger(budget, {"small": PRICE}, clock)
    retrying = Retrying(Retries(min_per_s=retries), clock, Random(1))  # noqa: S311
    hedged = Hedged(workers, ledger, Hedging(1e-4, retrying))
    backend = Metered(hedged, ledger, Stopwatch(a_trace(), clock))
    try:
        call = ledger.reserve("small", a_request(max_tokens=5), "answer")
    except BudgetExhausted:
        return
    asking = asyncio.create_task(asked(backend, call, stream=stream))
    for _ in range(turns):
        await settle()
        await asyncio.sleep(2e-4 if turns % 2 else 0)
        if asking.done():
            break
    asking.cancel()
    (result,) = await asyncio.gather(asking, return_exceptions=True)

    assert isinstance(result, list | EntrouteError | asyncio.CancelledError), result
    if isinstance(result, list):
        assert [completion.call_id for completion in result] == [call.id]
    assert [worker.running for worker in workers.workers] == [0, 0]
    made = [len(worker.calls) for worker in workers.workers]
    charges = ledger.charges
    assert len(charges) == len({charge.call_id for charge in charges}) == sum(made) <= calls
    assert sum(retrying.hedges.values()) <= 1
    assert (made[1] > 0) == (retrying.hedges["won"] + retrying.hedges["lost"] > 0)
    assert sum(charge.usage.completion_tokens for charge in charges) <= tokens
    if stream:
        assert sum(charge.usage.completion_tokens for charge in charges) == sum(workers.sent)
    if dollars is not None:
        assert sum(charge.cost_usd for charge in charges) <= dollars + 1e-12
    assert sum(charge.purpose == "answer" for charge in charges) <= 1
    assert ledger.calls_left == calls - sum(made)
