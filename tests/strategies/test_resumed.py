"""What strategies make of samples that earlier runs of the prompt have made."""

from typing import Any

import pytest

from entroute.confidence import GATE_TOP_LOGPROBS
from entroute.difficulty.probe import Probe
from entroute.protocols import Run
from entroute.stores.memory import MemoryStore
from entroute.strategies.cot_pot import CotPotConfig
from entroute.strategies.program_first import ProgramFirstConfig
from entroute.strategies.rejection import RejectionConfig
from entroute.strategies.self_consistency import SelfConsistencyConfig
from entroute.strategies.self_refine import SelfRefineConfig
from entroute.strategies.short_m_at_k import ShortMAtKConfig
from entroute.strategies.single import Single
from tests.builders import a_budget, a_request
from tests.cache.resuming import samples_in
from tests.earlier import FakeEarlier
from tests.fakes import FakeVerifier, strategy_parts
from tests.scripted import SURE, UNSURE, FakeBackend, FakeClock, Script, says
from tests.strategies.programming import answers, drawing, prints, running
from tests.strategies.switches import answer, story, two

JUDGE = FakeVerifier({"right": 1.0, "close": 0.9, "wrong": 0.0})


def resumed(kept: list[str], *scripts: Script, **facts: Any) -> tuple[FakeBackend, Run]:
    """Return a run on a small tier that has these samples already, and the tier's backend."""
    backend, run = drawing(*scripts, **facts)
    earlier = [("small", sample, text) for sample, text in enumerate(kept)]
    run.ledger.resume(FakeEarlier(run.request, earlier))
    return backend, run


async def test_a_wave_has_room_for_what_was_kept() -> None:
    budget = a_budget(max_calls=2)
    backend, run = resumed(
        ["wrong", "close", "wrong"], says("right"), verifier=JUDGE, budget=budget
    )
    outcome = await RejectionConfig(samples=8).build(strategy_parts()).run(run)
    assert (outcome.choices[0].content, outcome.stop_reason) == ("right", "verified")
    assert [call.sample for call in backend.calls] == [3, 4]
    assert len(run.ledger.charges) <= 2


async def test_what_was_kept_may_be_accepted_without_a_call() -> None:
    backend, run = resumed(["wrong", "right"], says("wrong"), verifier=JUDGE)
    outcome = await RejectionConfig().build(strategy_parts()).run(run)
    assert (outcome.stop_reason, [call.sample for call in backend.calls]) == ("verified", [])


async def test_what_was_kept_may_settle_a_vote_before_anything_is_begun() -> None:
    kept = [f"The answer is {n}." for n in (42, 42, 42)]
    backend, run = resumed(kept, answers(43))
    outcome = await SelfConsistencyConfig(samples=5).build(strategy_parts()).run(run)
    assert (outcome.stop_reason, backend.calls, run.ledger.charges) == ("settled", [], ())


async def test_what_was_kept_and_settles_nothing_is_drawn_on_from() -> None:
    kept = [f"The answer is {n}." for n in (41, 42, 43)]
    backend, run = resumed(kept, answers(42))
    outcome = await SelfConsistencyConfig(samples=5).build(strategy_parts()).run(run)
    assert [call.sample for call in backend.calls] == [3, 4]
    assert "42" in outcome.choices[0].content


async def test_a_budget_without_a_call_left_still_votes_over_what_was_kept() -> None:
    kept = [f"The answer is {n}." for n in (41, 42, 42)]
    backend, run = resumed(kept, answers(43), budget=a_budget(max_calls=0))
    outcome = await SelfConsistencyConfig(samples=5).build(strategy_parts()).run(run)
    assert (backend.calls, outcome.charges, run.ledger.charges) == ([], (), ())
    assert "42" in outcome.choices[0].content
    assert (outcome.stop_reason, run.ledger.exhausted) == ("budget", "max_calls")


async def test_a_judge_of_kept_samples_needs_its_calls() -> None:
    class Judge(FakeVerifier):
        calls = 1

    judge = Judge({"right": 1.0})
    backend, run = resumed(["right"] * 4, verifier=judge, budget=a_budget(max_calls=2))
    outcome = await SelfConsistencyConfig(samples=4).build(strategy_parts()).run(run)
    assert (len(outcome.candidates), backend.calls) == (2, [])


async def test_a_chain_begins_with_what_was_kept() -> None:
    kept = ["The answer is 41."]
    backend, run = resumed(kept, answers(42), budget=a_budget(max_calls=1))
    outcome = await SelfRefineConfig(chains=1, rounds=3).build(strategy_parts()).run(run)
    assert [call.sample for call in backend.calls] == [1]
    assert [candidate.resumed for candidate in outcome.candidates] == [True, False]


QUESTION = a_request("What is 6 times 7? End with the answer as a number.", seed=1)


@pytest.mark.parametrize(
    ("strategy", "scripts"),
    [
        (SelfConsistencyConfig(), [answers(42)]),
        (SelfRefineConfig(chains=2, rounds=2), [answers(41), answers(42)]),
        (CotPotConfig(), [prints(42), answers(41), prints(42)]),
        (ProgramFirstConfig(), [prints(41), answers(42)]),
        (ShortMAtKConfig(k=3, m=3), [answers(41), answers(42), answers(42)]),
    ],
)
async def test_a_strategy_that_is_run_again_asks_nobody(strategy: Any, scripts: Any) -> None:
    samples = samples_in(MemoryStore(2**20, FakeClock()))
    answered = []
    for _ in range(2):
        backend, run = drawing(*scripts, request=QUESTION)
        async with samples.resuming(run, ""):
            outcome = await strategy.build(strategy_parts(running())).run(run)
        answered.append(outcome.choices[0].content)
    assert answered[0] == answered[1]
    assert (backend.calls, run.ledger.charges) == ([], ())


async def test_a_probe_of_what_was_kept_is_free_and_goes_on_as_the_answer() -> None:
    samples = samples_in(MemoryStore(2**20, FakeClock()))
    for _ in range(2):
        backend, run = drawing(answers(42), request=QUESTION)
        async with samples.resuming(run, ""):
            estimate = await Probe(tokens=1, smoothing=1).estimate(run)
            outcome = await Single().run(run)
        assert (estimate.difficulty is None, outcome.stop_reason) == (False, "settled")
    assert (backend.calls, run.ledger.charges) == ([], ())
    assert outcome.choices[0].resumed


async def test_a_kept_answer_changes_hands_where_a_new_one_does() -> None:
    samples, request = samples_in(MemoryStore(2**20, FakeClock())), a_request(seed=1)
    _, fresh = await answer(two(story(SURE, SURE, UNSURE), story(UNSURE), request=request))
    run = two(story(SURE, SURE, UNSURE), story(UNSURE), request=request)
    async with samples.resuming(run, ""):
        whole = run.reserve(run.tiers[0], "answer", top_logprobs=GATE_TOP_LOGPROBS)
        await run.tiers[0].backend.complete(whole)
    run = two(story(SURE), story(UNSURE), request=request)
    async with samples.resuming(run, ""):
        _, kept = await answer(run)
    assert [charge.tier for charge in run.ledger.charges] == ["large"]
    assert kept.choices[0].content == fresh.choices[0].content
    assert kept.segments == fresh.segments
    assert kept.choices[0].usage == fresh.choices[0].usage


async def test_a_request_that_is_warmed_up_is_not_kept() -> None:
    samples = samples_in(MemoryStore(2**20, FakeClock()))
    for _ in range(2):
        backend, run = drawing(answers(42), request=QUESTION)
        async with samples.resuming(run, ""):
            warm = run.reserve(run.tiers[0], "probe", request=a_request("Hm?", seed=1))
            await run.tiers[0].backend.complete(warm)
        assert len(backend.calls) == 1
