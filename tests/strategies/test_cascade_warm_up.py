"""A cascade whose next tier reads the prompt while the gate decides."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.errors import WorkerRejected
from entroute.evidence import Outcome
from entroute.protocols import Run
from entroute.spending import Usage
from entroute.strategies.cascade import Cascade, CascadeConfig
from entroute.types import Call, Completion
from tests.builders import a_budget, a_request, a_run, a_tier, read_outcome, settle
from tests.fakes import strategy_parts
from tests.scripted import FakeBackend, Script, fails, hangs, says, unsure
from tests.strategies.cascades import DOWN, LARGE, SMALL, WORDS, spent, two
from tests.strategies.leaving import leave


def warming(*, warm_up: bool = True) -> Cascade:
    config = CascadeConfig(window=4, smoothing=2, threshold=0.8, warm_up=warm_up)
    return config.build(strategy_parts())


async def answer(run: Run, *, warm_up: bool = True) -> Outcome:
    text, outcome = await read_outcome(warming(warm_up=warm_up).stream(run))
    assert text == outcome.choices[0].content
    return outcome


def a_large(first: Script) -> FakeBackend:
    return FakeBackend(first, says(LARGE))


async def test_the_next_tier_is_asked_for_one_token_while_the_gate_decides() -> None:
    large = a_large(says("the"))
    run = two(unsure(*WORDS), large, request=a_request(logprobs=True, max_tokens=50))
    outcome = await answer(run)
    assert outcome.choices[0].content == LARGE
    warming, real = large.calls
    assert (warming.purpose, warming.max_tokens, warming.request.logprobs) == ("probe", 1, False)
    assert warming.request.messages == real.request.messages
    assert (real.purpose, real.max_tokens) == ("answer", 50)
    assert spent(run) == [("large", "probe", 1), ("small", "discarded", 4), ("large", "answer", 1)]


async def test_it_is_off_unless_switched_on() -> None:
    large = a_large(says("the"))
    await answer(two(unsure(*WORDS), large), warm_up=False)
    assert len(large.calls) == 1
    assert CascadeConfig().warm_up is False


async def test_a_warm_up_that_is_not_done_delays_nothing_and_is_cancelled_and_charged() -> None:
    large = a_large(hangs())
    run = two(says(*WORDS), large)
    outcome = await answer(run)
    assert (outcome.choices[0].content, outcome.stop_reason) == (SMALL, "confident")
    assert len(large.cancelled) == 1
    assert large.running == 0
    assert spent(run) == [("large", "probe", 0), ("small", "answer", 10)]
    assert run.ledger.charges[0].usage == Usage(calls=1, partial_calls=1)


async def test_an_escalation_does_not_wait_for_its_warm_up() -> None:
    large = a_large(hangs())
    outcome = await answer(two(unsure(*WORDS), large))
    assert outcome.choices[0].content == LARGE
    assert len(large.cancelled) == 1


REJECTED = WorkerRejected("w", "no", status=400, param=None, code=None)


@pytest.mark.parametrize("error", [DOWN, REJECTED])
async def test_a_warm_up_that_fails_changes_nothing(error: Exception) -> None:
    run = two(unsure(*WORDS), a_large(fails(error)))
    outcome = await answer(run)
    assert outcome.choices[0].content == LARGE
    assert run.trace.degraded == []


async def test_every_step_of_a_climb_warms_the_next() -> None:
    medium, large = (FakeBackend(says("a"), unsure(*WORDS)) for _ in range(2))
    tiers = a_tier("small", unsure(*WORDS)), a_tier("medium", medium), a_tier("large", large)
    run = a_run(*tiers)
    assert (await answer(run)).tier == "large"
    assert [(tier, purpose) for tier, purpose, _ in spent(run)] == [
        ("medium", "probe"),
        ("small", "discarded"),
        ("large", "probe"),
        ("medium", "discarded"),
        ("large", "answer"),
    ]


async def test_nothing_is_warmed_where_no_larger_tier_is_up() -> None:
    large = FakeBackend(says(LARGE))
    run = a_run(a_tier("small", says(*WORDS)), a_tier("large", large, available=False))
    await answer(run)
    assert large.calls == []


async def test_a_budget_that_does_not_hold_both_is_kept_for_the_answer() -> None:
    large = a_large(says(LARGE))
    run = two(unsure(*WORDS), large, budget=a_budget(max_calls=2))
    outcome = await answer(run)
    assert (outcome.tier, outcome.stop_reason) == ("large", "escalated")
    assert [call.purpose for call in large.calls] == ["answer"]


async def test_a_warm_up_left_out_is_no_exhausted_budget() -> None:
    run = two(says(*WORDS), budget=a_budget(max_calls=1))
    assert (await answer(run)).stop_reason == "confident"
    assert run.ledger.exhausted is None


@given(st.integers(1, 4), st.integers(1, 12), st.none() | st.integers(1, 12))
async def test_a_warm_up_never_costs_the_answer_its_tier(
    calls: int, tokens: int, cap: int | None
) -> None:
    tiers = []
    for warm_up in (False, True):
        run = two(
            unsure(*WORDS),
            FakeBackend(says(LARGE)),
            budget=a_budget(max_calls=calls, max_generated_tokens=tokens),
            request=a_request(max_tokens=cap),
        )
        tiers.append((await answer(run, warm_up=warm_up)).tier)
        assert sum(charge.usage.completion_tokens for charge in run.ledger.charges) <= tokens
        assert len(run.ledger.charges) <= calls
    assert tiers[0] == tiers[1]


async def test_leaving_while_held_back_cancels_the_warm_up_too() -> None:
    small, large = FakeBackend(hangs(after=2)), a_large(hangs())
    run = two(small, large)
    await leave(warming(), run, large, live=1)
    assert (small.running, large.running) == (0, 0)
    assert len(run.ledger.charges) == 2


@pytest.mark.parametrize("cap", [None, 300])
async def test_nothing_is_warmed_where_the_budget_would_cut_an_answer_for_it(
    cap: int | None,
) -> None:
    large = a_large(says(LARGE))
    request = a_request(max_tokens=cap)
    run = two(says(*WORDS), large, budget=a_budget(max_generated_tokens=300), request=request)
    outcome = await answer(run)
    assert (outcome.tier, outcome.stop_reason) == ("small", "confident")
    assert large.calls == []
    assert run.ledger.exhausted is None


async def test_the_next_tier_reads_while_the_first_one_reads() -> None:
    small, large = FakeBackend(hangs()), a_large(hangs())
    task = asyncio.create_task(answer(two(small, large)))
    await settle()
    assert (small.running, large.running) == (1, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (small.running, large.running) == (0, 0)


async def test_leaving_while_a_slow_warm_up_is_cancelled_closes_the_answer() -> None:
    small = FakeBackend(unsure(*WORDS))
    run = two(small, SlowToCancel())
    await leave(warming(), run, small, live=1)
    assert [charge.tier for charge in run.ledger.charges] == ["large", "small"]


class SlowToCancel(FakeBackend):
    """A worker whose connection takes long to close."""

    def __init__(self) -> None:
        super().__init__(hangs())

    async def complete(self, call: Call) -> Completion:
        """Hang, and hang on when cancelled."""
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(60)
        return await super().complete(call)
