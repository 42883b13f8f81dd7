"""Answers that change hands under caps and budgets, between tiers that fail, or not at all."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.cache.key import worth_storing
from entroute.errors import DeadlineExceeded, TierUnavailable, WorkerFailed, WorkerRejected
from entroute.strategies.random_switch import RandomSwitchConfig
from entroute.types import ChatRequest
from tests.builders import a_budget, a_request, a_run, a_tier, backend_of, refused
from tests.continuing import Continuing, Cut, by_words
from tests.fakes import FakeVerifier, strategy_parts
from tests.scripted import SURE, UNSURE, FakeBackend, fails, says, unsure
from tests.strategies.switches import DOWN, HANDS, STORY, a_switch, answer, moves, story, two


async def test_the_cap_holds_for_the_whole_answer() -> None:
    request = a_request(max_tokens=9)
    small, large = story(SURE, SURE, UNSURE), story(UNSURE)
    run = two(small, large, request=request)
    text, outcome = await answer(run)
    assert [call.max_tokens for call in (*small.calls, *large.calls)] == [9, 6]
    assert outcome.choices[0].usage.completion_tokens == 9
    assert outcome.choices[0].finish_reason == "length"
    assert outcome.stop_reason == "escalated"
    assert STORY.startswith(text)


async def test_no_hand_over_where_the_cap_leaves_no_token() -> None:
    run = two(story(SURE, SURE, UNSURE), story(), request=a_request(max_tokens=3))
    _, outcome = await answer(run)
    assert outcome.escalations == ()


@pytest.mark.parametrize(("most", "writers"), [(1, 2), (2, 2), (3, 4), (4, 4)])
async def test_the_larger_tier_finishes_after_the_last_hand_over(most: int, writers: int) -> None:
    run = two(story(SURE, UNSURE, SURE, UNSURE), story())
    text, outcome = await answer(run, a_switch(max_hand_overs=most))
    assert text == STORY
    assert len(outcome.segments) == writers
    assert outcome.tier == "large"


@pytest.mark.parametrize(
    "error",
    [
        DOWN,
        TierUnavailable("large"),
        WorkerRejected("w", "no", status=400, param=None, code=None),
    ],
)
async def test_the_old_writer_goes_on_where_the_target_fails(error: Exception) -> None:
    small = story(SURE, UNSURE, SURE)
    large = story(scripts=(fails(error),))
    run = two(small, large)
    text, outcome = await answer(run)
    assert text == STORY
    assert run.trace.degraded == ["tier:large"]
    assert outcome.escalations == ()
    assert [s.tier for s in outcome.segments] == ["small", "small"]
    assert len(large.calls) == 1  # it is not tried again
    assert [c.purpose for c in run.ledger.charges] == ["answer", "discarded", "answer"]


async def test_an_error_stands_where_both_fail() -> None:
    small = Continuing(STORY, by_words, [UNSURE], scripts=(says(), fails(DOWN)))
    run = two(small, story(scripts=(fails(DOWN),)))
    with pytest.raises(WorkerFailed):
        await answer(run)
    assert [c.purpose for c in run.ledger.charges] == ["answer", "discarded", "discarded"]


async def test_a_budget_too_small_keeps_the_writer() -> None:
    run = two(story(UNSURE), story(), budget=a_budget(max_calls=1))
    text, outcome = await answer(run)
    assert (text, outcome.escalations, outcome.stop_reason) == (STORY, (), "budget")
    assert len(run.ledger.charges) == 1


async def test_without_log_probabilities_the_answer_is_plain_and_says_so() -> None:
    run = two(story(UNSURE, logprobs=False), story())
    text, outcome = await answer(run)
    assert (text, outcome.stop_reason, outcome.escalations) == (STORY, "settled", ())
    assert run.trace.degraded == ["gate"]


async def test_an_answer_with_reasoning_is_not_handed_over() -> None:
    class Reasons(FakeBackend):
        def _delta(self, script, call, text, made):
            delta = super()._delta(script, call, text, made)
            return replace(delta, extra={"reasoning_content": "hm"})

    run = two(Reasons(unsure("It ", "is ", "so.")), story())
    text, outcome = await answer(run)
    assert (text, outcome.escalations) == ("It is so.", ())


async def test_a_larger_tier_that_is_down_is_noted() -> None:
    small = a_tier("small", story(UNSURE), continues=True)
    run = a_run(small, a_tier("large", story(), continues=True, available=False))
    text, _ = await answer(run)
    assert text == STORY
    assert run.trace.degraded == ["tier:large"]


async def test_a_failed_first_tier_is_not_handed_the_answer() -> None:
    run = two(story(scripts=(fails(DOWN),)), story())
    text, outcome = await answer(run)
    assert text == STORY
    assert moves(outcome) == [("small", "large", "unavailable")]


async def test_leaving_cancels_the_writer() -> None:
    small, large = story(SURE, UNSURE), story(UNSURE)
    stream = a_switch().stream(two(small, large))
    for _ in range(3):
        await anext(stream)
    await stream.aclose()
    assert [len(writer.cancelled) for writer in (small, large)] == [1, 1]
    assert (small.running, large.running) == (0, 0)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (a_request(n=2), "n"),
        (a_request(extra={"tools": [{}]}), "tools"),
        (a_request(extra={"response_format": {"type": "json_object"}}), "response_format"),
        (a_request(extra={"guided_regex": "a+"}), "guided_regex"),
        (a_request(extra={"grammar": "root ::= 'a'"}), "grammar"),
        (ChatRequest(model="auto", prompt="x"), "prompt"),
        (
            ChatRequest(model="auto", messages=({"role": "assistant", "content": "So"},)),
            "messages",
        ),
        (a_request(extra={"response_format": {"type": "text"}, "stop": ["END"]}), None),
    ],
)
def test_what_cannot_be_written_by_two_is_refused_by_name(
    request_: ChatRequest, field: str | None
) -> None:
    assert refused(a_switch(), two(story(), story(), request=request_)) == field


def test_pins_verifiers_and_tiers_that_cannot_go_on_are_refused() -> None:
    switch = a_switch()
    assert refused(switch, two(story(), story(), pinned="small")) == "model"
    verified = two(story(), story(), verifier=FakeVerifier({}))
    assert refused(switch, verified) == "entroute.verifier"
    one = a_run(a_tier("small", continues=True), a_tier("large"))
    assert refused(switch, one) == "entroute.strategy"
    assert backend_of(a_tier("small")).calls == []


@given(st.integers(1, 8), st.integers(1, 25), st.none() | st.integers(1, 25), HANDS, HANDS)
async def test_no_budget_is_exceeded_or_ends_an_answer_in_an_error(
    calls: int,
    tokens: int,
    cap: int | None,
    small: tuple[Cut, list[float]],
    large: tuple[Cut, list[float]],
) -> None:
    backends = [Continuing(STORY, cut, doubts) for cut, doubts in (small, large)]
    budget = a_budget(max_calls=calls, max_generated_tokens=tokens)
    run = two(*backends, request=a_request(max_tokens=cap), budget=budget)
    text, outcome = await answer(run, a_switch(max_hand_overs=30))
    assert STORY.encode().startswith(text.rstrip("\ufffd").encode())
    assert outcome.choices[0].usage.completion_tokens <= min(tokens, cap or tokens)
    assert sum(charge.usage.completion_tokens for charge in run.ledger.charges) <= tokens
    assert len(run.ledger.charges) <= calls


@pytest.mark.parametrize(
    ("limits", "error", "stop"),
    [
        ({"max_calls": 2}, DOWN, "budget"),
        ({}, DeadlineExceeded("late"), "deadline"),
    ],
)
async def test_what_was_released_is_never_lost_where_nobody_can_go_on(
    limits: dict[str, int], error: Exception, stop: str
) -> None:
    small = story(SURE, SURE, UNSURE)
    run = two(small, FakeBackend(fails(error)), budget=a_budget(**limits))
    text, outcome = await answer(run)
    assert STORY.startswith(text)
    assert text
    assert (outcome.stop_reason, outcome.tier) == (stop, "small")
    assert outcome.choices[0].finish_reason == "length"
    assert [segment.tier for segment in outcome.segments] == ["small"]


async def test_an_answer_by_chance_is_not_to_be_given_again() -> None:
    for share, larger in ((0.0, "small"), (1.0, "large")):
        config = RandomSwitchConfig(share=share, run=2)
        _, outcome = await answer(two(story(SURE), story(SURE)), config.build(strategy_parts()))
        assert outcome.tier == larger
        assert not worth_storing(outcome, ())
    _, outcome = await answer(two(story(SURE), story(SURE)))
    assert worth_storing(outcome, ())
