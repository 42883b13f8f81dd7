import asyncio
from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.errors import DeadlineExceeded, WorkerFailed, WorkerRejected
from entroute.protocols import Streams
from entroute.strategies.cascade import Cascade
from entroute.strategies.gating import Gate
from tests.builders import a_budget, a_request, a_run, a_tier, backend_of, refused, settle
from tests.fakes import FakeVerifier
from tests.scripted import FakeBackend, fails, hangs, says, unsure
from tests.strategies.cascades import (
    DOWN,
    LARGE,
    SMALL,
    WORDS,
    a_cascade,
    answer,
    either,
    spent,
    two,
)


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
    small = FakeBackend(says(*WORDS))
    run = two(small)
    stream = a_cascade().stream(run)
    first = asyncio.create_task(anext(stream))
    for made in range(4):
        assert not first.done(), made
        await asyncio.sleep(0)
    await first
    assert small.calls[0].top_logprobs == 5
    await stream.aclose()
    assert run.ledger.charges[0].usage.completion_tokens == 4


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


async def test_a_failure_after_the_release_stands() -> None:
    run = two(fails(DOWN, after=6, pieces=WORDS))
    with pytest.raises(WorkerFailed):
        await answer(run)
    assert spent(run) == [("small", "discarded", 6)]


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
    assert refused(cascade, a_run(tier, request=a_request(n=2))) == "n"
    tools = a_request(extra={"tools": [{}]})
    assert refused(cascade, a_run(tier, request=tools)) == "tools"
    assert refused(cascade, a_run(tier, verifier=FakeVerifier({}))) == "entroute.verifier"
    assert backend_of(tier).calls == []


async def test_a_defect_while_gating_cancels_upstream() -> None:
    small = FakeBackend(says(*WORDS))
    impossible = Cascade(4, Gate(smoothing=0, threshold=0.8))
    with pytest.raises(ValueError, match="window") as caught:
        await impossible.run(two(small))
    assert caught.tb is not None  # its frames hold the stream: nothing else can have closed it
    assert (small.running, small.cancelled) == (0, [0])


@either
async def test_an_answer_cut_at_the_budgets_cap_is_not_confident(stream: bool) -> None:  # noqa: FBT001
    run = two(says(*WORDS, finish_reason="length"), budget=a_budget(max_generated_tokens=6))
    outcome = await answer(run, stream=stream)
    assert (outcome.tier, outcome.stop_reason) == ("small", "budget")
