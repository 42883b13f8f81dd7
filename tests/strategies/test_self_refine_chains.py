"""`self_refine` with several chains side by side."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.errors import WorkerFailed
from tests.builders import a_budget, a_run, a_tier, settle
from tests.fakes import FakeVerifier
from tests.scripted import Script, fails, hangs, says
from tests.strategies.leaving import leave
from tests.strategies.refines import FAILED, drawing, says_that, strategy, turns


async def test_chains_run_side_by_side_and_do_not_see_each_other() -> None:
    gate = asyncio.Event()
    backend, run = drawing(says("a", gate=gate), says("b", gate=gate), says("c"), says("d"))
    task = asyncio.create_task(strategy(2, 2).run(run))
    await settle()
    assert backend.running == 2
    gate.set()
    outcome = await task
    assert len(backend.calls) == len(outcome.candidates) == 4
    assert sorted(call.sample for call in backend.calls) == [0, 1, 2, 3]
    assert sorted(map(str, [turns(call.request)[:1] for call in backend.calls])) == [
        "['assistant: a']", "['assistant: b']", "[]", "[]",
    ]  # fmt: skip


async def test_a_slow_chain_does_not_hold_the_others() -> None:
    gate = asyncio.Event()
    backend, run = drawing(says("a", gate=gate), says("b"), says("c"))
    task = asyncio.create_task(strategy(2, 3).run(run))
    await settle()
    assert len(backend.calls) == 4
    gate.set()
    assert len((await task).candidates) == 6


async def test_a_tie_goes_to_the_first_chains_latest_revision() -> None:
    gate = asyncio.Event()
    backend, run = drawing(says("a", gate=gate), says("b"), says("c"), says("d"))
    task = asyncio.create_task(strategy(2, 2).run(run))
    await settle()
    gate.set()
    outcome = await task
    assert outcome.choices[0].call_id == 3
    assert backend.calls[3].sample == 1


async def test_an_accepted_attempt_cancels_the_other_chains() -> None:
    backend, run = drawing(hangs(after=1), says("a"), says("b"), verifier=FakeVerifier({"b": 1.0}))
    outcome = await strategy(2, 4).run(run)
    assert (outcome.choices[0].content, outcome.stop_reason) == ("b", "verified")
    assert (backend.cancelled, outcome.cancelled) == ([0], 1)
    assert run.ledger.charges[0].purpose == "discarded"


async def test_a_settled_vote_cancels_the_other_chains() -> None:
    backend, run = drawing(says_that(42), says_that(42), says_that(42), hangs())
    outcome = await strategy(2, 2).run(run)
    assert outcome.stop_reason == "settled"
    assert (backend.cancelled, outcome.cancelled) == ([3], 1)


async def test_a_chain_that_fails_leaves_the_others_alone() -> None:
    _, run = drawing(fails(FAILED), says("b"), says("c"))
    outcome = await strategy(2, 2).run(run)
    assert outcome.choices[0].content == "c"
    assert len(outcome.failures) == 1


async def test_fewer_calls_than_chains_begin_fewer_chains() -> None:
    backend, run = drawing(says("a"), says("b"), budget=a_budget(max_calls=2))
    outcome = await strategy(3, 2).run(run)
    assert (len(backend.calls), outcome.stop_reason) == (2, "budget")


async def test_another_tier_answers_where_every_chain_fails() -> None:
    run = a_run(a_tier("small", fails(FAILED)), a_tier("large", says("a")))
    outcome = await strategy(2, 2).run(run)
    assert outcome.tier == "large"
    assert [move.reason for move in outcome.escalations] == ["unavailable"]


async def test_the_failure_stands_where_the_tier_is_pinned() -> None:
    run = a_run(a_tier("small", fails(FAILED)), a_tier("large", says("a")), pinned="small")
    with pytest.raises(WorkerFailed):
        await strategy(2, 2).run(run)


@given(
    st.integers(1, 4),
    st.integers(2, 5),
    st.lists(st.sampled_from([says_that(1), says_that(2), fails(FAILED), says("Hm")]), max_size=20),
    st.integers(1, 12),
)
async def test_no_script_of_failures_exceeds_the_plan_or_the_budget(
    chains: int, rounds: int, scripts: list[Script], calls: int
) -> None:
    budget = a_budget(max_calls=calls)
    backend, run = drawing(says_that(3), *scripts, budget=budget)
    outcome = await strategy(chains, rounds).run(run)
    assert len(backend.calls) <= min(calls, chains * rounds)
    assert len(run.ledger.charges) == len(backend.calls)
    assert len(outcome.verdicts) == len(outcome.candidates)
    assert outcome.choices[0] in outcome.candidates
    assert [c.purpose for c in run.ledger.charges].count("answer") == 1
    assert backend.running == 0


async def test_leaving_cancels_every_chain() -> None:
    backend, run = drawing(hangs(after=1))
    await leave(strategy(3, 2), run, backend, live=3)


async def test_an_attempt_that_failed_is_no_attempt_cut_off() -> None:
    failing = fails(FAILED, after=1)
    _, run = drawing(says_that(1), failing, says_that(1), says_that(1), hangs(after=2))
    outcome = await strategy(chains=3, rounds=2).run(run)
    assert (outcome.stop_reason, len(outcome.candidates), outcome.cancelled) == ("settled", 3, 1)
    assert outcome.saved == {"undrawn": 2}
