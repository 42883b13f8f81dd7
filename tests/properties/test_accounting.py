"""Whatever fails, leaves or is cut: what workers sent is charged, once, within the budget."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entroute.calls import CallStream
from entroute.decisions import Decision
from entroute.errors import EntrouteError, WorkerFailed, WorkerRejected
from entroute.evidence import Outcome
from entroute.protocols import Run, Strategy, Streams
from entroute.spending import Price
from entroute.strategies import DEFAULT_STRATEGIES
from entroute.types import Call, Completion
from tests.builders import a_budget, a_request, a_run, a_tier, read_outcome, settle
from tests.fakes import FakeSandbox, FakeVerifier, executed, strategy_parts
from tests.scripted import FakeBackend, Script, fails, hangs, says, unsure

STRATEGIES: dict[str, Strategy] = {
    config.kind: config.build(strategy_parts(FakeSandbox(executed)))
    for config in DEFAULT_STRATEGIES
}
PRICES = {"small": Price(1.0, 2.0), "large": Price(6.0, 12.0)}
QUESTION = "What is 6 times 7? End with 'The answer is <number>.'"
FAILED = WorkerFailed("w", "answered 500")
REJECTED = WorkerRejected("w", "no", status=400, param=None, code=None)

ANSWERS = st.sampled_from(
    [
        says("6 x 7 ", "is 42, so ", "the answer ", "is 42."),
        unsure("Perhaps ", "it is ", "41, ", "the answer is 41."),
        says("```python\n", "print(", "42", ")\n```"),
        says("```python\n", "raise ValueError", "()\n```"),
        says("Hm."),
        fails(FAILED),
        fails(FAILED, after=2),
        fails(REJECTED),
        hangs(after=1),
        hangs(),
    ]
)
SCRIPTS = st.lists(ANSWERS, min_size=1, max_size=12)


class CountingBackend(FakeBackend):
    """Counts what it hands out, as a worker would report it."""

    def __init__(self, *scripts: Script, tier: str) -> None:
        super().__init__(*scripts, tier=tier)
        self.sent: Counter[int] = Counter()

    async def stream(self, call: Call) -> CallStream:
        """Answer piece by piece, counting the pieces."""
        async with aclosing(super().stream(call)) as pieces:
            async for piece in pieces:
                if not isinstance(piece, Completion):
                    self.sent[call.id] += 1
                yield piece


def a_pair(
    small: Sequence[Script], large: Sequence[Script], **facts: object
) -> tuple[Run, list[CountingBackend]]:
    backends = [CountingBackend(*small, tier="small"), CountingBackend(*large, tier="large")]
    tiers = [
        a_tier(b._tier, b, price=PRICES[b._tier], continues=True, context_length=500)
        for b in backends
    ]
    return a_run(*tiers, **facts), backends


async def answered(strategy: Strategy, run: Run) -> Outcome | EntrouteError:
    try:
        if isinstance(strategy, Streams):
            return (await read_outcome(strategy.stream(run)))[1]
        return await strategy.run(run)
    except EntrouteError as error:
        return error


@pytest.mark.parametrize("name", STRATEGIES)
@settings(max_examples=60, deadline=None)
@given(
    small=SCRIPTS,
    large=SCRIPTS,
    turns=st.integers(5, 120),
    calls=st.integers(1, 12),
    tokens=st.integers(1, 400),
    cents=st.one_of(st.none(), st.floats(0, 0.02)),
    judged=st.booleans(),
)
async def test_charges_are_what_workers_sent_and_never_more_than_the_budget(  # noqa: PLR0917
    name: str,
    small: list[Script],
    large: list[Script],
    turns: int,
    calls: int,
    tokens: int,
    cents: float | None,
    judged: bool,  # noqa: FBT001
) -> None:
    strategy = STRATEGIES[name]
    budget = a_budget(max_calls=calls, max_generated_tokens=tokens, max_cost_usd=cents)
    verifier = FakeVerifier({"6 x 7 is 42, so the answer is 42.": 1.0, "Hm.": 0.0})
    run, backends = a_pair(
        small,
        large,
        request=a_request(QUESTION),
        budget=budget,
        verifier=verifier if judged else None,
        decision=Decision("small", name, "test"),
    )
    if strategy.supports(run) is not None:
        return
    asking = asyncio.create_task(answered(strategy, run))
    for _ in range(turns):
        await settle()
        if asking.done():
            break
    asking.cancel()  # a client that waits no longer, where something hangs
    await asyncio.gather(asking, return_exceptions=True)
    await run.close()
    if not asking.cancelled():
        assert asking.exception() is None

    charges = run.ledger.charges
    assert [backend.running for backend in backends] == [0, 0]
    for backend in backends:
        mine = {c.call_id: c.usage for c in charges if c.tier == backend._tier}
        assert {i: u.completion_tokens for i, u in mine.items() if u.completion_tokens} == dict(
            backend.sent
        )
        assert set(mine) == {call.id for call in backend.calls}
    assert len({charge.call_id for charge in charges}) == len(charges) <= calls
    assert sum(charge.usage.completion_tokens for charge in charges) <= tokens
    if cents is not None:
        assert sum(charge.cost_usd for charge in charges) <= cents + 1e-12
