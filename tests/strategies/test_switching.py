"""Answers that change hands: nothing of them is lost, repeated, or paid for twice."""

import re
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.calls import Head
from entroute.decisions import Decision
from entroute.evidence import Outcome
from entroute.types import Delta
from tests.builders import a_budget, a_request, a_run, a_tier
from tests.continuing import Continuing, Cut, Hands, by_bytes, by_spaces, by_words
from tests.scripted import SURE, UNSURE
from tests.strategies.switches import HANDS, STORY, TEXTS, a_switch, answer, moves, story, two


@pytest.mark.parametrize("stream", [True, False])
async def test_a_doubt_hands_the_answer_to_the_larger_tier_which_finishes_it(
    stream: bool,  # noqa: FBT001
) -> None:
    small, large = story(SURE, SURE, UNSURE), story(UNSURE)
    run = two(small, large)
    outcome = (await answer(run))[1] if stream else await a_switch().run(run)
    assert outcome.choices[0].content == STORY
    assert moves(outcome) == [("small", "large", "unsure")]
    assert outcome.escalations[0].confidence == pytest.approx(0.5)
    assert (outcome.stop_reason, outcome.tier, outcome.strategy) == (
        "escalated",
        "large",
        "entropy_switch",
    )
    assert large.calls[0].partial == "The cat, who"
    assert [(s.tier, s.tokens, s.reread_tokens) for s in outcome.segments] == [
        ("small", 3, 0),
        ("large", 15, 3),
    ]
    assert small.cancelled == [0]
    assert [(c.tier, c.purpose) for c in run.ledger.charges] == [
        ("small", "answer"),
        ("large", "answer"),
    ]
    assert run.ledger.charges[0].usage.partial_calls == 1


async def test_a_doubt_before_the_minimum_run_is_over_moves_nothing() -> None:
    _, outcome = await answer(two(story(UNSURE, SURE), story()), a_switch(minimum_run=3))
    assert [(s.tier, s.tokens) for s in outcome.segments] == [("small", 18)]


async def test_calm_tokens_hand_the_answer_back() -> None:
    run = two(story(SURE, SURE, UNSURE, SURE), story(UNSURE, SURE, SURE, SURE, UNSURE))
    text, outcome = await answer(run, a_switch(minimum_run=3))
    assert text == STORY
    assert moves(outcome) == [("small", "large", "unsure"), ("large", "small", "calm")]
    assert [(s.tier, s.tokens) for s in outcome.segments] == [
        ("small", 3),
        ("large", 4),
        ("small", 11),
    ]


async def test_a_sure_answer_is_never_left() -> None:
    run = two(story(), story())
    text, outcome = await answer(run)
    assert (text, outcome.stop_reason, outcome.escalations) == (STORY, "settled", ())
    assert len(outcome.segments) == 1
    assert outcome.choices[0].usage == run.ledger.charges[0].usage


async def test_text_is_released_as_it_is_made_and_only_tokens_before_whitespace_wait() -> None:
    small = Continuing("Yes, he is.\n\n Then no", lambda text: re.findall(rb" ?\w+|\W+", text))
    async with aclosing(a_switch().stream(two(small, story()))) as stream:
        released = [item.content async for item in stream if isinstance(item, Delta)]
    assert released == ["Yes", ", he", " is", ".\n\n Then", " no"]


async def test_whitespace_before_a_hand_over_is_left_to_the_next_writer() -> None:
    small = story(*[SURE] * 7, UNSURE, cut=by_spaces)  # the eighth token is a space
    large = story(UNSURE)
    run = two(small, large)
    text, outcome = await answer(run)
    assert text == STORY
    assert large.calls[0].partial == "The cat, who is"
    assert run.ledger.charges[0].usage.completion_tokens == 9
    assert outcome.segments[0].tokens == 7


async def test_an_answer_that_has_ended_is_not_handed_over() -> None:
    run = two(Continuing("Yes, sir", by_words, [SURE, UNSURE]), story())
    text, outcome = await answer(run)
    assert (text, outcome.escalations) == ("Yes, sir", ())


async def test_half_a_character_is_not_handed_over() -> None:
    small = Continuing("Ja, 猫!", by_bytes, [SURE] * 5 + [UNSURE])
    large = Continuing("Ja, 猫!", by_words, [UNSURE])
    text, _ = await answer(two(small, large))
    assert text == "Ja, 猫!"
    assert large.calls[0].partial == "Ja,"


async def test_log_probabilities_are_those_of_the_released_tokens() -> None:
    request = a_request(logprobs=True, top_logprobs=2)
    run = two(story(*[SURE] * 7, UNSURE, cut=by_spaces), story(UNSURE), request=request)
    released = ""
    tokens = ""
    async with aclosing(a_switch().stream(run)) as stream:
        async for item in stream:
            if isinstance(item, Outcome):
                tokens_at_last = "".join(t["token"] for t in item.choices[0].logprobs)
            else:
                released += item.content
                tokens += "".join(t["token"] for t in item.logprobs)
                assert tokens == released
    assert tokens_at_last == tokens == STORY


async def test_the_answers_usage_is_that_of_one_call() -> None:
    _, outcome = await answer(two(story(SURE, SURE, UNSURE), story(UNSURE)))
    usage = outcome.choices[0].usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.calls) == (10, 18, 1)


async def test_three_tiers_are_climbed_one_by_one() -> None:
    run = a_run(
        a_tier("small", story(UNSURE), continues=True),
        a_tier("medium", story(UNSURE), continues=True),
        a_tier("large", story(UNSURE), continues=True),
    )
    text, outcome = await answer(run)
    assert text == STORY
    assert [(source, target) for source, target, _ in moves(outcome)] == [
        ("small", "medium"),
        ("medium", "large"),
    ]


async def test_a_probe_is_continued_and_its_doubts_count() -> None:
    small = story(SURE, SURE, UNSURE)
    run = two(small, story(UNSURE))
    call = run.reserve(run.tiers[0], "probe", top_logprobs=5)
    rest = run.tiers[0].backend.stream(call)
    run.head = Head("small", call, [await anext(rest) for _ in range(4)], rest)
    text, outcome = await answer(run)
    assert text == STORY
    assert [(s.tier, s.tokens) for s in outcome.segments] == [("small", 3), ("large", 15)]
    assert len(small.calls) == 1
    assert {charge.purpose for charge in run.ledger.charges} == {"answer"}


async def test_a_decided_larger_tier_begins() -> None:
    run = two(story(), story(UNSURE), decision=Decision("large", "entropy_switch", "test"))
    _, outcome = await answer(run)
    assert [s.tier for s in outcome.segments] == ["large"]


@given(TEXTS, HANDS, HANDS, st.integers(0, 4))
async def test_whatever_the_tokens_and_the_moments_the_reader_gets_the_story_once(
    text: str, small: tuple[Cut, list[float]], large: tuple[Cut, list[float]], lag: int
) -> None:
    hands = Hands()
    request = a_request(extra={"stop": ["x" * (lag + 1)]} if lag else {})
    backends = [
        Continuing(text, cut, doubts, hands=hands, lag=lag) for cut, doubts in (small, large)
    ]
    run = two(*backends, request=request, budget=a_budget(max_calls=64))
    got, outcome = await answer(run, a_switch(max_hand_overs=30))
    assert got == text
    views = [seen.partial for seen in hands.seen]
    for view, following in zip(hands.seen, hands.seen[1:], strict=False):
        assert following.partial == following.partial.rstrip()
        assert len(following.partial) > len(view.partial)
        wrote = (view.partial.encode() + view.wrote).decode(errors="replace")
        assert wrote.startswith(following.partial)
    assert views[0] == ""
    charged = [c.usage.completion_tokens for c in run.ledger.charges]
    assert charged == [seen.tokens for seen in hands.seen]
    assert [s.tier for s in outcome.segments] == [c.tier for c in run.ledger.charges]
    assert len(outcome.segments) == len(outcome.escalations) + 1
