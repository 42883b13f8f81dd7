import asyncio
from dataclasses import dataclass

import pytest

from entroute.errors import CallFailed, WorkerFailed, WorkerRejected
from entroute.strategies.adaptive_consistency import AdaptiveConsistencyConfig
from entroute.strategies.drawing import Draw, Manner, Step, drawn
from entroute.strategies.saving import saved_tokens
from entroute.strategies.self_consistency import SelfConsistencyConfig
from tests.builders import a_budget, a_request, a_run, a_tier, settle
from tests.fakes import strategy_parts, voter
from tests.scripted import FakeBackend, fails, hangs, says
from tests.strategies.waves import FAILED, Until, Waves, all_of, at, drawing, says_that

TOO_LONG = WorkerRejected("w", "too long", status=400, param=None, code="context_length_exceeded")


# --- waves -----------------------------------------------------------------------------------


async def test_a_wave_follows_when_the_last_has_ended_and_never_beyond_the_most() -> None:
    backend, run = drawing(says_that(1))
    rule = Waves(8, [3, 2, 9])
    draw = await drawn(run, at(run), Manner(rule, voter()))
    assert len(backend.calls) == len(draw.done) == len(draw.calls) == 8
    assert [done for done, live in rule.shown if not live] == [0, 3, 5, 8]
    assert (draw.stop, draw.live, draw.cancelled) == ("exhausted", 0, 0)


async def test_the_samples_of_a_wave_run_side_by_side() -> None:
    gate = asyncio.Event()
    backend, run = drawing(says_that(1, gate=gate))
    task = asyncio.create_task(drawn(run, at(run), all_of(4)))
    await settle()
    assert backend.running == 4
    gate.set()
    assert len((await task).done) == 4


async def test_samples_are_numbered_through_all_waves() -> None:
    backend, run = drawing(says_that(1), request=a_request(seed=5))
    await drawn(run, at(run), Manner(Waves(5, [2, 3]), voter()))
    assert [call.sample for call in backend.calls] == [0, 1, 2, 3, 4]
    assert {call.purpose for call in backend.calls} == {"sample"}


async def test_every_finished_sample_has_its_vote_in_the_order_of_completion() -> None:
    slow, fast = says("The ", "answer ", "is 1."), says_that(2)
    _, run = drawing(slow, fast, says("Hm."))
    draw = await drawn(run, at(run), all_of(3))
    assert [sample.call_id for sample in draw.done] == [2, 1, 0]
    assert draw.answers == (None, "2", "1")


async def test_what_is_asked_and_looked_at_follows_the_manner() -> None:
    backend, run = drawing(says_that(1))
    other = a_request("How much is 3 of 4?", temperature=0.9)
    await drawn(run, at(run), Manner(Waves(2, [2]), voter(), top_logprobs=5, request=other))
    assert [call.request for call in backend.calls] == [other, other]
    assert {call.top_logprobs for call in backend.calls} == {5}


# --- stopping --------------------------------------------------------------------------------


async def test_open_samples_are_cancelled_when_the_rule_stops() -> None:
    backend, run = drawing(says_that(7), hangs(after=1), hangs(after=1))
    rule = Until(3, lambda draw: len(draw.done) == 1)
    draw = await drawn(run, at(run), Manner(rule, voter()))
    assert (draw.stop, draw.answer, draw.cancelled, draw.live) == ("settled", "7", 2, 0)
    assert sorted(backend.cancelled) == [1, 2]
    assert backend.running == 0


async def test_leaving_cancels_what_is_open_and_charges_it() -> None:
    backend, run = drawing(hangs(after=1))
    task = asyncio.create_task(drawn(run, at(run), all_of(3)))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert backend.running == 0
    assert [charge.usage.completion_tokens for charge in run.ledger.charges] == [1, 1, 1]


@dataclass
class OneMore:
    """Draws two, one more when the first is done, and stops at the second."""

    most: int = 3

    def step(self, draw: Draw) -> Step:
        if not draw.calls:
            return Step(draw=2)
        if len(draw.done) > 1:
            return Step(stop="settled")
        return Step(draw=3 - len(draw.calls)) if draw.done else Step()


async def test_a_sample_cancelled_before_it_began_has_spent_nothing() -> None:
    backend, run = drawing(says_that(7))
    draw = await drawn(run, at(run), Manner(OneMore(), voter()))
    assert (len(draw.calls), len(backend.calls), draw.cancelled) == (3, 2, 1)
    assert run.ledger.calls_left == run.ledger.budget.max_calls - 2
    assert saved_tokens(run, draw) == {}


# --- failures --------------------------------------------------------------------------------


async def test_a_wave_of_which_nothing_comes_is_not_repeated() -> None:
    backend, run = drawing(says_that(1), says_that(1), fails(FAILED))
    draw = await drawn(run, at(run), Manner(Waves(12, [2, 3]), voter()))
    assert len(backend.calls) == 5
    assert (len(draw.done), len(draw.failures), draw.stop) == (2, 3, "exhausted")


async def test_a_wave_that_is_partly_lost_is_followed_by_another() -> None:
    backend, run = drawing(says_that(1), fails(FAILED), says_that(1), fails(FAILED), says_that(1))
    draw = await drawn(run, at(run), Manner(Waves(6, [2, 2, 2]), voter()))
    assert len(backend.calls) == 6
    assert (len(draw.done), len(draw.failures)) == (4, 2)


@pytest.mark.parametrize(("error", "reason"), [(FAILED, "unavailable"), (TOO_LONG, "context")])
async def test_another_tier_draws_where_no_sample_arrives(error: Exception, reason: str) -> None:
    large = FakeBackend(says_that(1), tier="large")
    run = a_run(a_tier("small", fails(error)), a_tier("large", large))
    draw = await drawn(run, at(run), all_of(3))
    assert draw.tier.name == "large"
    assert len(draw.done) == len(large.calls) == 3
    assert [(move.source, move.target, move.reason) for move in draw.moves] == [
        ("small", "large", reason)
    ]


async def test_one_sample_is_enough_to_stay() -> None:
    large = FakeBackend(says_that(1), tier="large")
    run = a_run(a_tier("small", FakeBackend(says_that(1), fails(FAILED))), a_tier("large", large))
    assert (await drawn(run, at(run), all_of(3))).tier.name == "small"
    assert large.calls == []


async def test_every_tier_is_tried_once_and_the_last_failure_stands() -> None:
    tiers = [a_tier(name, fails(WorkerFailed(name, "500"))) for name in ("small", "large")]
    run = a_run(*tiers)
    with pytest.raises(CallFailed, match="large"):
        await drawn(run, at(run), all_of(2))
    assert len(run.ledger.charges) == 4


async def test_a_failed_sample_saves_nothing() -> None:
    whole = [says("It is 42.", "")] * 3
    backend = FakeBackend(*whole, fails(FAILED), hangs(after=1))
    run = a_run(a_tier("small", backend))
    outcome = await SelfConsistencyConfig(samples=5).build(strategy_parts()).run(run)
    assert (len(outcome.failures), outcome.cancelled) == (1, 1)
    assert dict(outcome.saved) == {"cancelled": 1}


async def test_a_vote_that_settled_in_full_exhausted_nothing() -> None:
    budget = a_budget(max_generated_tokens=12)
    run = a_run(a_tier("small", FakeBackend(says("7"))), budget=budget)
    outcome = await AdaptiveConsistencyConfig(samples=16).build(strategy_parts()).run(run)
    assert (outcome.stop_reason, run.ledger.exhausted) == ("settled", None)
