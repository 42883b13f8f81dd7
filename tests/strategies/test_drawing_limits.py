"""Draws where budget or time is short, with a probe, and what they cost and saved."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.calls import Head
from entroute.errors import BudgetExhausted, CallFailed, DeadlineExceeded
from entroute.evidence import Verdict
from entroute.protocols import Run
from entroute.spending import Price
from entroute.strategies.drawing import Manner, drawn, mark_chosen
from entroute.strategies.saving import saved_tokens
from entroute.types import ChatRequest, Completion
from tests.builders import a_budget, a_request, a_run, a_tier
from tests.fakes import FakeVerifier, voter
from tests.scripted import FakeBackend, Script, fails, hangs, says
from tests.strategies.waves import FAILED, Until, Waves, all_of, at, drawing, says_that

# --- budget ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "price", "drawn_samples"),
    [
        ({"max_calls": 3}, Price(), 3),
        ({"max_generated_tokens": 3}, Price(), 3),
        ({"max_cost_usd": 300e-6}, Price(prompt=1), 3),
        ({"max_cost_usd": 5e-6}, Price(completion=1), 5),
    ],
)
async def test_what_the_budget_does_not_hold_is_not_drawn(
    limits: dict[str, Any], price: Price, drawn_samples: int
) -> None:
    backend = FakeBackend(says_that(1))
    budget = a_budget(**limits)
    run = a_run(a_tier("small", backend, price=price), budget=budget)
    draw = await drawn(run, at(run), Manner(Until(6, lambda _: False), voter()))
    assert len(backend.calls) == len(draw.done) == drawn_samples
    assert (draw.stop, run.ledger.exhausted) == ("budget", next(iter(limits)))


async def test_a_wave_leaves_room_for_the_ones_after_it() -> None:
    backend, run = drawing(says_that(1), budget=a_budget(max_generated_tokens=80))
    await drawn(run, at(run), Manner(Waves(8, [2, 6]), voter()))
    caps = [call.max_tokens for call in backend.calls]
    assert caps[:2] == [10, 10]
    assert caps[2:] == [12, 12, 13, 13, 13, 13]  # of the 76 tokens that are left


async def test_what_a_wave_did_not_spend_is_the_next_ones() -> None:
    backend, run = drawing(says("1"), budget=a_budget(max_generated_tokens=4))
    draw = await drawn(run, at(run), Manner(Waves(4, [1, 3]), voter()))
    assert len(draw.done) == 4
    assert [call.max_tokens for call in backend.calls] == [1, 1, 1, 1]


async def test_no_sample_at_all_is_an_error() -> None:
    backend, run = drawing(says_that(1), budget=a_budget(max_calls=0))
    with pytest.raises(BudgetExhausted):
        await drawn(run, at(run), all_of(3))
    assert backend.calls == []


@given(
    st.lists(
        st.sampled_from([says_that(1), says("2"), fails(FAILED), fails(FAILED, after=1)]),
        min_size=1, max_size=20,
    ),
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.integers(1, 12),
    st.integers(1, 20),
    st.integers(1, 30),
)  # fmt: skip
async def test_no_script_of_failures_exceeds_the_budget(
    scripts: list[Script], sizes: list[int], most: int, calls: int, tokens: int
) -> None:
    budget = a_budget(max_calls=calls, max_generated_tokens=tokens)
    backend, run = drawing(*scripts, budget=budget)
    try:
        draw = await drawn(run, at(run), Manner(Waves(most, sizes), voter()))
    except CallFailed:
        draw = None
    spent = [charge.usage for charge in run.ledger.charges]
    assert len(backend.calls) == len(spent) <= min(most, calls)
    assert sum(usage.completion_tokens for usage in spent) <= tokens
    assert draw is None or len(draw.votes) == len(draw.done) >= 1
    assert backend.running == 0


# --- time ------------------------------------------------------------------------------------


async def test_a_sample_that_is_late_leaves_the_others() -> None:
    late = fails(DeadlineExceeded("late"))
    _, run = drawing(says_that(1), late)
    draw = await drawn(run, at(run), all_of(3))
    assert (len(draw.done), draw.stop) == (1, "deadline")


async def test_nothing_before_the_deadline_is_an_error_that_no_tier_mends() -> None:
    large = FakeBackend(says_that(1), tier="large")
    run = a_run(a_tier("small", fails(DeadlineExceeded("late"))), a_tier("large", large))
    with pytest.raises(DeadlineExceeded):
        await drawn(run, at(run), all_of(2))
    assert large.calls == []


class Slow(FakeVerifier):
    """Never finishes comparing two."""

    compares = True

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        if len(candidates) > 1:
            await asyncio.Event().wait()
        return await super().score(request, candidates)


async def test_a_comparison_that_is_late_ends_the_draw_with_what_is_known() -> None:
    backend, run = drawing(says("a"), says("b"), hangs(), budget=a_budget(deadline=100.05))
    draw = await drawn(run, at(run), Manner(Waves(3, [3]), Slow({"a": 0.4, "b": 0.9})))
    assert draw.stop == "deadline"
    assert [verdict.abstained for verdict in draw.votes] == [False, True]
    assert (draw.cancelled, backend.running) == (1, 0)


# --- probes ----------------------------------------------------------------------------------


async def probing(run: Run, tier: int = 0) -> Run:
    call = run.reserve(run.tiers[tier], "probe")
    rest = run.tiers[tier].backend.stream(call)
    run.head = Head(run.tiers[tier].name, call, [await anext(rest)], rest)
    return run


async def test_a_probe_is_the_first_sample() -> None:
    backend, run = drawing(says_that(1), says_that(2))
    draw = await drawn(await probing(run), at(run), all_of(3))
    assert len(backend.calls) == len(draw.calls) == 3
    assert draw.done[0].content == "The answer is 1."
    assert {charge.purpose for charge in run.ledger.charges} == {"sample"}
    assert run.head is None


async def test_a_probe_may_be_a_whole_wave() -> None:
    backend, run = drawing(says_that(1))
    rule = Waves(3, [1, 2])
    draw = await drawn(await probing(run), at(run), Manner(rule, voter()))
    assert [done for done, live in rule.shown if not live] == [0, 1, 3]
    assert len(backend.calls) == len(draw.done) == 3


async def test_a_probe_alone_is_drawn_where_the_budget_holds_no_more() -> None:
    _, run = drawing(says_that(1), budget=a_budget(max_calls=1))
    draw = await drawn(await probing(run), at(run), all_of(3))
    assert (len(draw.done), draw.stop) == (1, "budget")


async def test_a_probe_of_another_tier_or_another_question_is_cancelled() -> None:
    small = FakeBackend(hangs(after=2))
    run = a_run(a_tier("large", says_that(1)), a_tier("small", small))
    await drawn(await probing(run, tier=1), at(run), all_of(2))
    assert small.cancelled == [0]
    backend, run = drawing(hangs(after=2), says_that(1))
    other = a_request("Which number is it?")
    await drawn(await probing(run), at(run), Manner(Waves(2, [2]), voter(), request=other))
    assert backend.cancelled == [0]
    assert len(backend.calls) == 3


# --- accounts --------------------------------------------------------------------------------


async def test_saved_tokens_are_the_means_rest_of_cut_and_undrawn_samples() -> None:
    backend, run = drawing(
        says("a", "b", "c", "7."), says("x", "7."), hangs(after=1), hangs(after=2)
    )
    rule = Until(4, lambda draw: len(draw.done) == 2)
    draw = await drawn(run, at(run), Manner(rule, voter()))
    assert backend.cancelled == [2, 3]
    assert saved_tokens(run, draw) == {"cancelled": (3 - 1) + (3 - 2)}
    draw.most = 6
    assert saved_tokens(run, draw) == {"cancelled": 3, "undrawn": 6}


@pytest.mark.parametrize("stop", ["budget", "deadline", "exhausted", "escalated"])
async def test_nothing_is_saved_where_nobody_chose_to_stop(stop: Any) -> None:
    _, run = drawing(says_that(1))
    draw = await drawn(run, at(run), Manner(Waves(4, [2, 2]), voter()))
    draw.stop, draw.most = stop, 9
    assert saved_tokens(run, draw) == {}


async def test_the_ledger_says_which_sample_is_the_answer() -> None:
    _, run = drawing(says_that(1), fails(FAILED), says_that(7), hangs(after=1))
    rule = Until(4, lambda draw: len(draw.done) == 2)
    draw = await drawn(run, at(run), Manner(rule, voter()))
    mark_chosen(run, (draw,), draw.done[1])
    assert [charge.purpose for charge in run.ledger.charges] == [
        "sample", "discarded", "answer", "discarded",
    ]  # fmt: skip


async def test_a_sample_that_ended_unread_was_not_cut_off() -> None:
    _, run = drawing(says_that(1), says_that(1), says_that(1), hangs(after=1))
    rule = Until(4, lambda draw: len(draw.done) == 1)
    draw = await drawn(run, at(run), Manner(rule, voter()))
    assert (len(draw.done), len(draw.unread), draw.cancelled) == (1, 2, 1)
    assert saved_tokens(run, draw) == {"cancelled": 1}
    mark_chosen(run, (draw,), draw.done[0])
    purposes = [charge.purpose for charge in run.ledger.charges]
    assert purposes == ["answer", "discarded", "discarded", "discarded"]
