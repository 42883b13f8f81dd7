"""Whatever was kept: it costs nothing, and what is drawn beside it stays within the budget."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entroute.decisions import Decision
from entroute.ledger import Ledger
from tests.builders import a_budget, a_request, settle
from tests.earlier import FakeEarlier
from tests.fakes import FakeVerifier
from tests.properties.test_accounting import QUESTION, SCRIPTS, STRATEGIES, a_pair, answered
from tests.scripted import Script

KEPT = st.lists(
    st.tuples(
        st.sampled_from(["small", "large"]),
        st.integers(0, 8),
        st.sampled_from(["the answer is 42.", "I think the answer is 41."]),
    ),
    max_size=12,
)


@pytest.mark.parametrize("name", STRATEGIES)
@settings(max_examples=40, deadline=None)
@given(
    small=SCRIPTS,
    large=SCRIPTS,
    kept=KEPT,
    turns=st.integers(5, 120),
    calls=st.integers(1, 12),
    tokens=st.integers(1, 400),
    cents=st.one_of(st.none(), st.floats(0, 0.02)),
    judged=st.booleans(),
)
async def test_kept_samples_are_free_and_the_rest_is_within_the_budget(  # noqa: PLR0917
    name: str,
    small: list[Script],
    large: list[Script],
    kept: list[tuple[str, int, str]],
    turns: int,
    calls: int,
    tokens: int,
    cents: float | None,
    judged: bool,  # noqa: FBT001
) -> None:
    strategy, request = STRATEGIES[name], a_request(QUESTION)
    verifier = FakeVerifier({"the answer is 42.": 1.0, "Hm.": 0.0})
    run, backends = a_pair(
        small,
        large,
        request=request,
        budget=a_budget(max_calls=calls, max_generated_tokens=tokens, max_cost_usd=cents),
        verifier=verifier if judged else None,
        decision=Decision("small", name, "test"),
    )
    if strategy.supports(run) is not None:
        return
    earlier = FakeEarlier(request, kept)
    run.ledger.resume(earlier)
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
    asked = {call.id for backend in backends for call in backend.calls}
    assert {charge.call_id for charge in charges} == asked
    assert {call.id for call in earlier.noted} <= asked
    assert len(charges) <= calls
    assert sum(charge.usage.completion_tokens for charge in charges) <= tokens
    if cents is not None:
        assert sum(charge.cost_usd for charge in charges) <= cents + 1e-12
    given_out = {(name, sample) for name, sample, _ in kept}
    for backend in backends:
        for call in backend.calls:
            if call.request is request and not call.partial:
                alone = (backend._tier, call.sample) not in given_out
                assert alone or tokens < 3 or cents is not None


@given(
    kept=st.frozensets(st.integers(0, 10)),
    calls=st.integers(0, 8),
    most=st.integers(0, 12),
    first=st.integers(0, 3),
    judging=st.integers(0, 2),
    spare=st.integers(0, 3),
)
def test_there_is_room_for_as_many_samples_as_can_be_reserved(  # noqa: PLR0917
    kept: frozenset[int], calls: int, most: int, first: int, judging: int, spare: int
) -> None:
    request = a_request()
    ledger = Ledger(a_budget(max_calls=calls), {}, lambda: 0.0)
    ledger.resume(FakeEarlier(request, [("small", sample, "42") for sample in kept]))
    room = ledger.room("small", request, most, first=first, judging=judging, spare=spare)
    before = ledger.calls_left
    for number in range(room):
        ledger.reserve("small", request, "sample", sample=first + number, share=room - number)
    fresh = sum(first + number not in kept for number in range(room))
    assert ledger.calls_left == before - fresh
    assert ledger.calls_left >= spare + judging * room or room == 0
    if room < most:
        more = judging * (room + 1) + fresh + (first + room not in kept)
        assert more > calls - spare
