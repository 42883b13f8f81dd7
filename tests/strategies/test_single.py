import asyncio

import pytest

from entroute.decisions import Decision
from entroute.errors import (
    BudgetExhausted,
    CallFailed,
    DeadlineExceeded,
    TierUnavailable,
    WorkerFailed,
    WorkerRejected,
)
from entroute.evidence import Outcome
from entroute.protocols import Run, Streams
from entroute.strategies.single import Single
from entroute.types import Delta
from tests.builders import (
    a_budget,
    a_request,
    a_run,
    a_tier,
    backend_of,
    read_outcome,
    refused,
    settle,
)
from tests.fakes import FakeVerifier
from tests.scripted import fails, hangs, says
from tests.strategies.singles import DOWN, answer, either, probed, spent

TOO_LONG = WorkerRejected("w", "too long", status=400, param=None, code="context_length_exceeded")
WRONG = WorkerRejected("w", "bad field", status=400, param="n", code=None)


@either
async def test_one_sample_of_the_decided_tier_is_the_answer(stream: bool) -> None:  # noqa: FBT001
    small, large = a_tier("small"), a_tier("large")
    run = a_run(small, large, decision=Decision("large", "single", "test"))
    outcome = await answer(run, stream=stream)
    assert outcome.choices[0].content == "6 times 7 is 42"
    assert (outcome.tier, outcome.strategy, outcome.stop_reason) == ("large", "single", "settled")
    assert outcome.candidates == outcome.choices
    assert spent(run) == [("large", "answer")]
    assert backend_of(small).calls == []


async def test_pieces_are_released_as_they_are_made() -> None:
    run = a_run(a_tier("small", hangs(after=2)))
    stream = Single().stream(run)
    first, second = await anext(stream), await anext(stream)
    assert [p.content for p in (first, second) if isinstance(p, Delta)] == ["6 times ", "7 is "]
    await stream.aclose()
    assert run.ledger.charges[0].usage.completion_tokens == 2


@either
async def test_several_choices_are_one_call_each(stream: bool) -> None:  # noqa: FBT001
    tier = a_tier("small")
    backend_of(tier)._scripts = (says("a"), says("b"), says("c"))
    run = a_run(tier, request=a_request(n=3, seed=5))
    outcome = await (Single().run(run) if not stream else _outcome_only(run))
    assert sorted(choice.content for choice in outcome.choices) == ["a", "b", "c"]
    assert [call.sample for call in backend_of(tier).calls] == [0, 1, 2]
    assert [c.call_id for c in outcome.choices] == [0, 1, 2]
    assert outcome.stop_reason == "settled"


async def _outcome_only(run: Run) -> Outcome:
    _, outcome = await read_outcome(Single().stream(run))
    return outcome


async def test_pieces_of_several_choices_carry_their_index() -> None:
    tier = a_tier("small")
    backend_of(tier)._scripts = (says("a", "a"), says("b", "b"))
    texts = {0: "", 1: ""}
    outcome = None
    async for item in Single().stream(a_run(tier, request=a_request(n=2))):
        if isinstance(item, Delta):
            texts[item.index] += item.content
        else:
            outcome = item
    assert outcome is not None
    assert texts == {i: choice.content for i, choice in enumerate(outcome.choices)}
    assert set(texts.values()) == {"aa", "bb"}


async def test_choices_share_the_budget() -> None:
    tier = a_tier("small")
    run = a_run(tier, request=a_request(n=4), budget=a_budget(max_generated_tokens=100))
    await Single().run(run)
    assert [call.max_tokens for call in backend_of(tier).calls] == [25] * 4


async def test_more_choices_than_calls_are_refused_before_anything_is_spent() -> None:
    tier = a_tier("small")
    run = a_run(tier, request=a_request(n=4), budget=a_budget(max_calls=3))
    with pytest.raises(BudgetExhausted):
        await Single().run(run)
    assert backend_of(tier).calls == []


async def test_a_failed_choice_fails_the_request_and_cancels_the_others() -> None:
    tier = a_tier("small")
    backend_of(tier)._scripts = (hangs(), fails(WorkerFailed("w", "500")), hangs())
    with pytest.raises(WorkerFailed):
        await Single().run(a_run(tier, request=a_request(n=3)))
    assert sorted(backend_of(tier).cancelled) == [0, 2]
    assert backend_of(tier).running == 0


@either
async def test_another_tier_answers_when_the_first_fails(stream: bool) -> None:  # noqa: FBT001
    run = a_run(a_tier("small", fails(DOWN)), a_tier("large"))
    outcome = await answer(run, stream=stream)
    assert (outcome.tier, outcome.stop_reason) == ("large", "escalated")
    (move,) = outcome.escalations
    assert (move.source, move.target, move.reason) == ("small", "large", "unavailable")
    assert run.trace.degraded == ["tier:small"]
    assert spent(run) == [("small", "discarded"), ("large", "answer")]


@either
async def test_a_smaller_tier_answers_when_the_largest_fails(stream: bool) -> None:  # noqa: FBT001
    run = a_run(
        a_tier("small"),
        a_tier("large", fails(DOWN)),
        decision=Decision("large", "single", "test"),
    )
    outcome = await answer(run, stream=stream)
    assert outcome.tier == "small"
    assert run.trace.degraded == ["tier:large"]


@either
async def test_all_other_tiers_are_tried_once_and_the_last_error_stands(stream: bool) -> None:  # noqa: FBT001
    tiers = [a_tier(name, fails(TierUnavailable(name))) for name in ("small", "medium", "large")]
    run = a_run(*tiers, decision=Decision("medium", "single", "test"))
    with pytest.raises(CallFailed, match="small"):
        await answer(run, stream=stream)
    assert [len(backend_of(tier).calls) for tier in tiers] == [1, 1, 1]


@either
async def test_a_pinned_tier_is_not_left(stream: bool) -> None:  # noqa: FBT001
    for error in (DOWN, TOO_LONG):
        large = a_tier("large")
        run = a_run(a_tier("small", fails(error)), large, pinned="small")
        with pytest.raises(type(error)):
            await answer(run, stream=stream)
        assert backend_of(large).calls == []


@either
async def test_a_prompt_too_long_for_one_tier_moves_up_only(stream: bool) -> None:  # noqa: FBT001
    tiers = a_tier("small"), a_tier("medium", fails(TOO_LONG)), a_tier("large")
    run = a_run(*tiers, decision=Decision("medium", "single", "test"))
    outcome = await answer(run, stream=stream)
    assert outcome.tier == "large"
    assert [move.reason for move in outcome.escalations] == ["context"]
    assert run.trace.degraded == []
    last = a_run(*tiers[:2], decision=Decision("medium", "single", "test"))
    with pytest.raises(WorkerRejected):
        await answer(last, stream=stream)
    assert backend_of(tiers[0]).calls == []


@either
async def test_what_a_worker_rejects_is_asked_nowhere_else(stream: bool) -> None:  # noqa: FBT001
    large = a_tier("large")
    with pytest.raises(WorkerRejected, match="bad field"):
        await answer(a_run(a_tier("small", fails(WRONG)), large), stream=stream)
    assert backend_of(large).calls == []


async def test_nothing_is_moved_after_the_first_piece() -> None:
    large = a_tier("large")
    run = a_run(a_tier("small", fails(WorkerFailed("w", "500"), after=1)), large)
    with pytest.raises(WorkerFailed):
        await read_outcome(Single().stream(run))
    assert backend_of(large).calls == []


async def test_an_unavailable_or_unfit_tier_is_no_substitute() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    request = a_request(extra={}, model="auto")
    with_picture = type(request)(
        model="auto", messages=({"role": "user", "content": [picture]},), n=1
    )
    tiers = (
        a_tier("small", fails(DOWN), vision=True),
        a_tier("blind"),
        a_tier("off", vision=True, available=False),
    )
    with pytest.raises(TierUnavailable):
        await Single().run(a_run(*tiers, request=with_picture))


@either
async def test_the_deadline_stands(stream: bool) -> None:  # noqa: FBT001
    large = a_tier("large")
    with pytest.raises(DeadlineExceeded):
        await answer(a_run(a_tier("small", fails(DeadlineExceeded("late"))), large), stream=stream)
    assert backend_of(large).calls == []


@either
async def test_a_probe_is_continued(stream: bool) -> None:  # noqa: FBT001
    tier = a_tier("small")
    run = await probed(a_run(tier))
    outcome = await answer(run, stream=stream)
    assert outcome.choices[0].content == "6 times 7 is 42"
    assert len(backend_of(tier).calls) == 1
    assert spent(run) == [("small", "answer")]


async def test_a_verifier_cannot_be_honoured_and_all_else_can() -> None:
    single = Single()
    assert isinstance(single, Streams)
    tools = a_request(n=2, extra={"tools": [{}]})
    assert single.supports(a_run(a_tier("small"), request=tools)) is None
    run = a_run(a_tier("small"), verifier=FakeVerifier({}))
    assert refused(single, run) == "entroute.verifier"


async def test_leaving_while_waiting_for_the_first_piece_cancels_it() -> None:
    tier = a_tier("small", hangs())
    task = asyncio.create_task(read_outcome(Single().stream(a_run(tier))))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert backend_of(tier).cancelled == [0]
