"""A cascade whose tiers fail, are missing, are several, or were probed before."""

import pytest

from entroute.calls import Head
from entroute.decisions import Decision
from entroute.errors import TierUnavailable, WorkerFailed
from entroute.protocols import Run
from entroute.types import ChatRequest
from tests.builders import a_budget, a_run, a_tier
from tests.scripted import FakeBackend, fails, says, unsure
from tests.strategies.cascades import (
    DOWN,
    LARGE,
    SMALL,
    WORDS,
    answer,
    either,
    spent,
    two,
)


@either
@pytest.mark.parametrize("after", [0, 2])
async def test_the_large_tier_answers_when_the_small_one_fails(stream: bool, after: int) -> None:  # noqa: FBT001
    run = two(fails(DOWN, after=after, pieces=WORDS))
    outcome = await answer(run, stream=stream)
    assert (outcome.tier, outcome.stop_reason) == ("large", "escalated")
    assert [move.reason for move in outcome.escalations] == ["unavailable"]
    assert run.trace.degraded == ["tier:small"]
    assert spent(run) == [("small", "discarded", after), ("large", "answer", 1)]


@either
@pytest.mark.parametrize("after", [0, 2])
async def test_the_small_tier_answers_after_all_when_the_large_one_fails(
    stream: bool,  # noqa: FBT001
    after: int,
) -> None:
    run = two(unsure(*WORDS), fails(DOWN, after=after, pieces=WORDS))
    outcome = await answer(run, stream=stream)
    assert outcome.choices[0].content == SMALL
    assert outcome.tier == "small"
    assert run.trace.degraded == ["tier:large"]
    assert [move.reason for move in outcome.escalations] == ["unsure", "unavailable"]
    assert [c.purpose for c in run.ledger.charges] == ["discarded", "discarded", "answer"]


async def test_the_last_tier_is_not_gated() -> None:
    run = two(says(*WORDS), unsure(*WORDS), decision=Decision("large", "cascade", "test"))
    outcome = await answer(run)
    assert (outcome.tier, outcome.stop_reason) == ("large", "exhausted")
    assert run.trace.degraded == []


async def test_a_missing_larger_tier_is_noted() -> None:
    run = a_run(a_tier("small", unsure(*WORDS)), a_tier("large", available=False))
    outcome = await answer(run)
    assert (outcome.tier, outcome.stop_reason) == ("small", "exhausted")
    assert run.trace.degraded == ["tier:large"]


async def test_a_larger_tier_that_does_not_fit_is_not_missed() -> None:
    picture = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    request = ChatRequest(model="auto", messages=({"role": "user", "content": picture},))
    run = a_run(a_tier("small", unsure(*WORDS), vision=True), a_tier("large"), request=request)
    assert (await answer(run)).tier == "small"
    assert run.trace.degraded == []


async def test_three_tiers_are_climbed_one_by_one() -> None:
    run = a_run(
        a_tier("small", unsure(*WORDS)),
        a_tier("medium", unsure(*WORDS)),
        a_tier("large", says(LARGE)),
    )
    outcome = await answer(run)
    assert outcome.tier == "large"
    moves = [(move.source, move.target) for move in outcome.escalations]
    assert moves == [("small", "medium"), ("medium", "large")]
    assert spent(run) == [
        ("small", "discarded", 4),
        ("medium", "discarded", 4),
        ("large", "answer", 1),
    ]


async def test_a_sure_middle_tier_ends_the_climb() -> None:
    run = a_run(a_tier("small", unsure(*WORDS)), a_tier("medium", says(*WORDS)), a_tier("large"))
    outcome = await answer(run)
    assert (outcome.tier, outcome.stop_reason) == ("medium", "confident")


async def test_of_three_tiers_the_one_that_is_left_answers() -> None:
    run = a_run(
        a_tier("small", unsure(*WORDS)),
        a_tier("medium", fails(TierUnavailable("medium"))),
        a_tier("large", fails(TierUnavailable("large"))),
    )
    outcome = await answer(run)
    assert outcome.tier == "small"
    assert run.trace.degraded == ["tier:medium", "tier:large"]


async def test_all_tiers_down_is_the_last_ones_error() -> None:
    run = two(fails(TierUnavailable("small")), fails(TierUnavailable("large")))
    with pytest.raises(TierUnavailable, match="large"):
        await answer(run)


async def probed(run: Run, tokens: int) -> Run:
    call = run.reserve(run.tiers[0], "probe", top_logprobs=5)
    rest = run.tiers[0].backend.stream(call)
    run.head = Head("small", call, [await anext(rest) for _ in range(tokens)], rest)
    return run


@pytest.mark.parametrize("tokens", [2, 4, 7, 11])
async def test_a_probe_is_continued_and_not_made_twice(tokens: int) -> None:
    small = FakeBackend(says(*WORDS))
    run = await probed(two(small), tokens)
    outcome = await answer(run)
    assert outcome.choices[0].content == SMALL
    assert len(small.calls) == 1
    assert spent(run) == [("small", "answer", 10)]
    assert run.head is None


async def test_an_unsure_probe_is_discarded() -> None:
    run = await probed(two(unsure(*WORDS)), 2)
    assert (await answer(run)).tier == "large"
    assert spent(run) == [("small", "discarded", 4), ("large", "answer", 1)]


async def test_a_probe_of_another_tier_is_cancelled() -> None:
    small = FakeBackend(says(*WORDS))
    run = await probed(two(small, decision=Decision("large", "cascade", "test")), 2)
    assert (await answer(run)).tier == "large"
    assert small.cancelled == [0]
    assert spent(run)[0] == ("small", "probe", 2)


async def test_a_probe_is_continued_where_the_budget_holds_no_call_on_the_wanted_tier() -> None:
    decided = Decision("large", "cascade", "test")
    run = await probed(two(says(*WORDS), decision=decided, budget=a_budget(max_calls=1)), 2)
    outcome = await answer(run)
    assert (outcome.tier, outcome.stop_reason) == ("small", "budget")
    assert spent(run) == [("small", "answer", 10)]


@either
@pytest.mark.parametrize("after", [0, 2])
async def test_a_failure_stands_where_the_budget_holds_no_other_tier(
    stream: bool,  # noqa: FBT001
    after: int,
) -> None:
    run = two(fails(DOWN, after=after, pieces=WORDS), budget=a_budget(max_calls=1))
    with pytest.raises(WorkerFailed):
        await answer(run, stream=stream)
    assert run.trace.degraded == []
