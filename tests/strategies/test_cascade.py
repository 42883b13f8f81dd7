import asyncio
from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.calls import Head
from entroute.errors import DeadlineExceeded, TierUnavailable, WorkerFailed, WorkerRejected
from entroute.evidence import Decision, Outcome
from entroute.protocols import Run, Streams
from entroute.strategies.cascade import Cascade, CascadeConfig
from entroute.types import ChatRequest
from tests.fakes import (
    FakeBackend,
    FakeVerifier,
    Script,
    a_budget,
    a_request,
    a_run,
    a_tier,
    backend_of,
    fails,
    hangs,
    read_outcome,
    says,
    settle,
    unsure,
)

WORDS = tuple(f"w{i} " for i in range(10))
SMALL, LARGE = "".join(WORDS), "the large answer"
DOWN = WorkerFailed("w", "answered 500")

either = pytest.mark.parametrize("stream", [True, False])


def a_cascade() -> Cascade:
    return CascadeConfig(window=4, smoothing=2, threshold=0.8).build()


def two(small: Script | FakeBackend, large: Script | FakeBackend | None = None, **facts: object):
    return a_run(a_tier("small", small), a_tier("large", large or says(LARGE)), **facts)


async def answer(run: Run, *, stream: bool = True) -> Outcome:
    if not stream:
        return await a_cascade().run(run)
    text, outcome = await read_outcome(a_cascade().stream(run))
    assert text == outcome.choices[0].content
    return outcome


def spent(run: Run) -> list[tuple[str, str, int]]:
    return [(c.tier, c.purpose, c.usage.completion_tokens) for c in run.ledger.charges]


@either
async def test_a_sure_window_is_released_and_the_small_tier_goes_on(stream: bool) -> None:  # noqa: FBT001
    run = two(says(*WORDS))
    outcome = await answer(run, stream=stream)
    assert outcome.choices[0].content == SMALL
    assert (outcome.tier, outcome.stop_reason, outcome.strategy) == (
        "small",
        "confident",
        "cascade",
    )
    assert outcome.verifier == "confidence"
    assert outcome.verdicts[0].score > 0.9
    assert outcome.escalations == ()
    assert spent(run) == [("small", "answer", 10)]


@either
async def test_an_unsure_window_escalates_before_anything_is_released(stream: bool) -> None:  # noqa: FBT001
    run = two(unsure(*WORDS))
    outcome = await answer(run, stream=stream)
    assert outcome.choices[0].content == LARGE
    assert (outcome.tier, outcome.stop_reason) == ("large", "escalated")
    (move,) = outcome.escalations
    assert (move.source, move.target, move.reason) == ("small", "large", "unsure")
    assert move.confidence == pytest.approx(0.5)
    assert spent(run) == [("small", "discarded", 4), ("large", "answer", 1)]


async def test_nothing_is_released_before_the_gate_and_all_of_it_after() -> None:
    gate = asyncio.Event()
    small = FakeBackend(says(*WORDS))
    run = two(small)
    stream = a_cascade().stream(run)
    first = asyncio.create_task(anext(stream))
    for made in range(4):
        assert not first.done(), made
        await asyncio.sleep(0)
    await first
    held = small.calls[0]
    assert held.top_logprobs == 5
    await stream.aclose()
    assert run.ledger.charges[0].usage.completion_tokens == 4
    assert not gate.is_set()


async def test_a_doubt_after_the_window_is_too_late() -> None:
    class TurnsUnsure(FakeBackend):
        def _delta(self, script, call, text, made):
            doubting = says(*script.pieces, p=0.5) if made > 4 else script
            return super()._delta(doubting, call, text, made)

    outcome = await answer(two(TurnsUnsure(says(*WORDS))))
    assert (outcome.tier, outcome.stop_reason) == ("small", "confident")


@either
async def test_an_answer_shorter_than_the_window_is_gated_whole(stream: bool) -> None:  # noqa: FBT001
    assert (await answer(two(says("Yes.")), stream=stream)).tier == "small"
    run = two(unsure("Yes."))
    assert (await answer(run, stream=stream)).tier == "large"
    assert spent(run)[0] == ("small", "discarded", 1)


@given(st.floats(0.5, 0.999), st.booleans())
async def test_the_threshold_is_compared_with_exp_of_minus_entropy(
    p: float,
    stream: bool,  # noqa: FBT001
) -> None:
    entropy = -(p * log(p) + (1 - p) * log(1 - p))
    outcome = await answer(two(says(*WORDS, p=p)), stream=stream)
    assert outcome.tier == ("small" if exp(-entropy) >= 0.8 else "large")


@either
@pytest.mark.parametrize("after", [0, 2])
async def test_the_large_tier_answers_when_the_small_one_fails(stream: bool, after: int) -> None:  # noqa: FBT001
    run = two(fails(DOWN, after=after, pieces=WORDS))
    outcome = await answer(run, stream=stream)
    assert (outcome.tier, outcome.stop_reason) == ("large", "escalated")
    assert [move.reason for move in outcome.escalations] == ["unavailable"]
    assert run.trace.degraded == ["tier:small"]
    assert spent(run) == [("small", "discarded", after), ("large", "answer", 1)]


async def test_a_failure_after_the_release_stands() -> None:
    run = two(fails(DOWN, after=6, pieces=WORDS))
    with pytest.raises(WorkerFailed):
        await answer(run)
    assert spent(run) == [("small", "discarded", 6)]


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


@either
async def test_a_budget_too_small_to_escalate_keeps_the_small_answer(stream: bool) -> None:  # noqa: FBT001
    run = two(unsure(*WORDS), budget=a_budget(max_calls=1))
    outcome = await answer(run, stream=stream)
    assert (outcome.tier, outcome.stop_reason) == ("small", "budget")
    assert run.ledger.exhausted == "max_calls"
    assert spent(run) == [("small", "answer", 10)]


@pytest.mark.parametrize(("tokens", "tier"), [(4, "small"), (5, "large")])
async def test_what_the_held_back_window_spent_counts_in_what_is_left(
    tokens: int, tier: str
) -> None:
    run = two(unsure(*WORDS), budget=a_budget(max_generated_tokens=tokens))
    outcome = await answer(run)
    assert outcome.tier == tier
    assert outcome.stop_reason == ("budget" if tier == "small" else "escalated")


async def test_without_log_probabilities_the_gate_is_left_out_and_said_to_be() -> None:
    run = two(FakeBackend(unsure(*WORDS), logprobs=False))
    outcome = await answer(run)
    assert (outcome.tier, outcome.stop_reason) == ("small", "exhausted")
    assert outcome.verdicts[0].abstained
    assert run.trace.degraded == ["gate"]


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


async def test_a_prompt_too_long_for_small_is_asked_of_large() -> None:
    too_long = WorkerRejected("w", "long", status=400, param=None, code="context_length_exceeded")
    run = two(fails(too_long))
    outcome = await answer(run)
    assert outcome.tier == "large"
    assert [move.reason for move in outcome.escalations] == ["context"]


async def test_the_deadline_while_holding_back_stands() -> None:
    run = two(fails(DeadlineExceeded("late"), after=2, pieces=WORDS))
    with pytest.raises(DeadlineExceeded):
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


async def test_leaving_while_held_back_cancels_upstream() -> None:
    small = FakeBackend(hangs(after=2))
    task = asyncio.create_task(answer(two(small)))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert small.cancelled == [0]


def test_several_choices_tools_and_verifiers_are_refused_by_name() -> None:
    cascade, tier = a_cascade(), a_tier("small")
    assert isinstance(cascade, Streams)
    assert cascade.supports(a_run(tier)) is None
    assert cascade.supports(a_run(tier, request=a_request(n=2))) == "n"
    tools = a_request(extra={"tools": [{}]})
    assert cascade.supports(a_run(tier, request=tools)) == "tools"
    assert cascade.supports(a_run(tier, verifier=FakeVerifier({}))) == "entroute.verifier"
    assert backend_of(tier).calls == []
