import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from entroute.calls import Head
from entroute.errors import BudgetExhausted, DeadlineExceeded, SandboxUnavailable, WorkerFailed
from entroute.execution import Execution
from entroute.protocols import Run
from entroute.spending import Price
from entroute.strategies.cot_pot import CotPot, CotPotConfig
from entroute.strategies.programs import PROGRAM_LINE
from tests.builders import a_budget, a_request, a_run, a_tier, refused, until
from tests.fakes import FakeSandbox, FakeVerifier, StuckSandbox, executed, strategy_parts
from tests.scripted import FakeBackend, FakeClock, Script, fails, hangs, says
from tests.strategies.programming import (
    TIMED_OUT,
    answers,
    code,
    drawing,
    prints,
    purposes,
    running,
    spent,
)

FAILED = WorkerFailed("w", "answered 500")


def cot_pot(sandbox: FakeSandbox | None = None, **facts: Any) -> CotPot:
    return CotPotConfig(**facts).build(strategy_parts(sandbox or running()))


async def test_a_pair_that_agrees_is_the_answer() -> None:
    _, run = drawing(answers(42), prints(42))
    outcome = await cot_pot().run(run)
    assert outcome.stop_reason == "verified"
    assert outcome.choices[0].content == "So the answer is 42."
    assert [verdict.answer for verdict in outcome.verdicts] == ["42", "42"]
    assert any("the program printed 42" in verdict.reason for verdict in outcome.verdicts)
    assert sorted(purposes(run)) == ["answer", "sample"]
    assert outcome.saved["undrawn"] > 0


async def test_the_reasoning_sample_is_the_request_and_the_other_asks_for_a_program() -> None:
    backend, run = drawing(answers(42), prints(42), request=a_request("What is 6 times 7?", seed=3))
    await cot_pot().run(run)
    texts = [call.request.text for call in backend.calls]
    assert texts == ["What is 6 times 7?", f"What is 6 times 7?\n\n{PROGRAM_LINE}"]
    assert [call.sample for call in backend.calls] == [0, 1]


async def test_equal_numbers_agree_however_they_are_written() -> None:
    _, run = drawing(answers("1,050.0"), prints(1050))
    assert (await cot_pot().run(run)).stop_reason == "verified"


async def test_disagreement_draws_more_of_both_kinds_until_the_vote_settles() -> None:
    scripts = [answers(41), prints(42), answers(42), prints(42), answers(42), prints(42)]
    backend, run = drawing(*scripts, prints(42))
    outcome = await cot_pot().run(run)
    assert outcome.stop_reason == "settled"
    assert outcome.choices[0].content == "So the answer is 42."
    programs = [PROGRAM_LINE in call.request.text for call in backend.calls]
    assert programs == [False, True, False, True, False, True, False]


async def test_where_only_programs_have_the_winning_answer_a_sentence_says_it() -> None:
    scripts = [says("I cannot say"), prints(42)]
    _, run = drawing(*scripts * 5, request=a_request(logprobs=False))
    outcome = await cot_pot().run(run)
    assert outcome.choices[0].content == "The answer is 42."
    assert outcome.choices[0].logprobs == ()
    assert any("print(42)" in candidate.content for candidate in outcome.candidates)


async def test_a_prompt_that_asks_for_a_box_gets_one() -> None:
    request = a_request("What is 6*7? Put the answer in \\boxed{}.")
    _, run = drawing(*[says("I cannot say"), prints(42)] * 5, request=request)
    outcome = await cot_pot().run(run)
    assert outcome.choices[0].content == r"The answer is \boxed{42}."


async def test_disagreement_goes_up_a_tier_where_that_is_asked_for() -> None:
    backend, run = drawing(answers(41), prints(42), large=answers(43))
    outcome = await cot_pot(escalate=True).run(run)
    assert (outcome.tier, outcome.stop_reason) == ("large", "escalated")
    assert [(m.source, m.target, m.reason) for m in outcome.escalations] == [
        ("small", "large", "rejected")
    ]
    assert len(backend.calls) == 2
    assert purposes(run) == ["sample", "sample", "answer"]
    assert len(outcome.candidates) == len(outcome.verdicts) == 3


async def test_a_larger_tier_that_fails_leaves_the_smaller_ones_answer() -> None:
    _, run = drawing(answers(41), prints(42), large=fails(FAILED))
    outcome = await cot_pot(escalate=True).run(run)
    assert outcome.choices[0].content == "So the answer is 41."
    assert (outcome.stop_reason, run.trace.degraded) == ("exhausted", ["tier:large"])


@pytest.mark.parametrize("program", [says("no code"), prints(""), says("```\nprint(1/0)\n```")])
async def test_a_program_without_a_value_has_no_vote(program: Script) -> None:
    _, run = drawing(*[answers(42), program] * 5)
    outcome = await cot_pot().run(run)
    assert outcome.choices[0].content == "So the answer is 42."
    assert None in [verdict.answer for verdict in outcome.verdicts]
    assert outcome.stop_reason != "verified"


async def test_a_program_that_times_out_says_so() -> None:
    sandbox = running(lambda _: TIMED_OUT)
    _, run = drawing(*[answers(42), prints(42)] * 5)
    outcome = await cot_pot(sandbox).run(run)
    assert outcome.choices[0].content == "So the answer is 42."
    assert any("timeout" in verdict.reason for verdict in outcome.verdicts)
    assert run.trace.degraded == []


async def test_without_a_sandbox_at_hand_reasoning_alone_votes() -> None:
    sandbox = running(lambda _: SandboxUnavailable("no room"))
    backend, run = drawing(answers(42), prints(42), answers(42))
    outcome = await cot_pot(sandbox).run(run)
    assert outcome.choices[0].content == "So the answer is 42."
    assert outcome.stop_reason == "settled"
    assert run.trace.degraded == ["sandbox"]
    assert len(sandbox.sources) == 1
    assert sum(PROGRAM_LINE in call.request.text for call in backend.calls) == 1


async def test_samples_that_the_vote_does_not_need_are_cancelled() -> None:
    wave = [answers(42), prints(42), answers(42), prints(42), hangs(after=1)]
    backend, run = drawing(answers(41), prints(42), *wave, answers(42))
    async with asyncio.timeout(30):
        outcome = await cot_pot(level=0.8).run(run)
    assert outcome.choices[0].content == "So the answer is 42."
    assert (outcome.stop_reason, len(backend.cancelled)) == ("settled", outcome.cancelled)
    assert backend.running == 0


async def test_temperature_zero_draws_one_pair() -> None:
    backend, run = drawing(answers(41), prints(42), request=a_request(temperature=0))
    outcome = await cot_pot().run(run)
    assert len(backend.calls) == 2
    assert outcome.choices[0].content == "So the answer is 41."
    assert outcome.stop_reason == "exhausted"


def priced(*scripts: Script, **facts: Any) -> Run:
    """Return a run whose larger tier costs more than there is."""
    large = a_tier("large", answers(43), price=Price(1e6, 1e6))
    return a_run(
        a_tier("small", FakeBackend(*scripts)), large, budget=a_budget(max_cost_usd=1.0), **facts
    )


async def test_a_larger_tier_that_does_not_fit_matters_only_where_the_vote_stays_open() -> None:
    settled = priced(answers(41), prints(42), *[answers(42), prints(42)] * 4)
    outcome = await cot_pot(escalate=True).run(settled)
    assert (outcome.stop_reason, settled.ledger.exhausted) == ("settled", None)
    left_open = priced(answers(41), prints(42), request=a_request(temperature=0))
    outcome = await cot_pot(escalate=True).run(left_open)
    assert (outcome.stop_reason, left_open.ledger.exhausted) == ("budget", "max_cost_usd")


async def test_a_deadline_between_waves_ends_with_the_best_so_far() -> None:
    clock = FakeClock()

    def slow(source: str) -> Execution:
        clock.advance(100)
        return executed(source)

    _, run = drawing(answers(41), prints(42), clock=clock, budget=a_budget(deadline=150.0))
    outcome = await cot_pot(running(slow)).run(run)
    assert outcome.choices[0].content == "So the answer is 41."
    assert (outcome.stop_reason, run.ledger.exhausted) == ("deadline", "deadline")


@pytest.mark.parametrize("program", ["0.1 + 0.2", "0.3", "'Answer: 0.3'"])
async def test_a_program_agrees_whatever_the_noise_of_its_value(program: str) -> None:
    _, run = drawing(answers("0.3"), code(f"print({program})"))
    assert (await cot_pot().run(run)).stop_reason == "verified"


def test_at_a_level_of_a_coin_nothing_would_be_compared() -> None:
    with pytest.raises(ValidationError):
        CotPotConfig(level=0.5)


@given(st.integers(1, 6))
async def test_a_budget_of_few_calls_still_answers(calls: int) -> None:
    scripts = [answers(1), prints(2), answers(3), prints(4), answers(5), prints(6)]
    backend, run = drawing(*scripts, budget=a_budget(max_calls=calls))
    outcome = await cot_pot().run(run)
    assert len(backend.calls) == calls
    assert outcome.stop_reason == "budget"
    assert outcome.choices[0].content.startswith("So the answer is ")
    assert len(run.ledger.charges) == calls


async def test_no_call_at_all_is_an_error() -> None:
    _, run = drawing(answers(1), budget=a_budget(max_calls=0))
    with pytest.raises(BudgetExhausted):
        await cot_pot().run(run)


async def test_the_best_so_far_is_returned_at_the_deadline() -> None:
    late = fails(DeadlineExceeded("late"), after=1)
    _, run = drawing(answers(42), late)
    outcome = await cot_pot(samples=2).run(run)
    assert outcome.choices[0].content == "So the answer is 42."
    assert (outcome.stop_reason, run.ledger.exhausted) == ("deadline", "deadline")


async def test_a_tier_that_gives_nothing_is_left() -> None:
    backend, run = drawing(fails(FAILED), large=answers(42))
    outcome = await cot_pot().run(run)
    assert outcome.tier == "large"
    assert [move.reason for move in outcome.escalations] == ["unavailable"]
    assert len(backend.calls) == 2  # a pair of which nothing came is not repeated
    assert run.trace.degraded == ["tier:small"]


async def test_the_error_stands_where_every_tier_fails() -> None:
    _, run = drawing(fails(FAILED), large=fails(FAILED))
    with pytest.raises(WorkerFailed):
        await cot_pot().run(run)
    assert set(purposes(run)) == {"discarded"}


async def test_a_probes_stream_is_the_reasoning_sample() -> None:
    backend, run = drawing(answers(42), prints(42))
    tier = run.tiers[0]
    probe = run.reserve(tier, "probe")
    stream = tier.backend.stream(probe)
    run.head = Head("small", probe, [await anext(stream)], stream)
    outcome = await cot_pot().run(run)
    assert outcome.stop_reason == "verified"
    assert len(backend.calls) == 2
    assert [call.request.text.endswith(PROGRAM_LINE) for call in backend.calls] == [False, True]


async def test_a_probe_that_reserved_everything_leaves_room_for_the_program() -> None:
    budget = a_budget(max_generated_tokens=1000)
    _, run = drawing(answers(42), prints(42), budget=budget)
    tier = run.tiers[0]
    probe = run.reserve(tier, "probe")
    stream = tier.backend.stream(probe)
    run.head = Head("small", probe, [await anext(stream)], stream)
    outcome = await cot_pot().run(run)
    assert (outcome.stop_reason, len(outcome.candidates)) == ("verified", 2)
    assert run.ledger.exhausted is None


async def test_a_probes_stream_of_another_tier_is_cancelled() -> None:
    backend, run = drawing(answers(42), prints(42), large=answers(43))
    large = run.tiers[1]
    probe = run.reserve(large, "probe")
    stream = large.backend.stream(probe)
    run.head = Head("large", probe, [await anext(stream)], stream)
    outcome = await cot_pot().run(run)
    assert outcome.tier == "small"
    assert run.ledger.charges[0].usage.partial_calls == 1
    assert len(backend.calls) == 2


async def test_a_sandbox_slower_than_the_deadline_costs_only_the_vote() -> None:
    _, run = drawing(answers(42), prints(42), budget=a_budget(deadline=100.05))
    outcome = await cot_pot(StuckSandbox()).run(run)
    assert outcome.choices[0].content == "So the answer is 42."
    assert (outcome.stop_reason, outcome.verdicts[-1].abstained) == ("deadline", True)


async def test_charges_are_what_the_calls_made() -> None:
    scripts = [answers(41), prints(42), answers(42), prints(42), answers(42), prints(42)]
    _, run = drawing(*scripts)
    outcome = await cot_pot().run(run)
    assert spent(run) == sum(sample.usage.completion_tokens for sample in outcome.candidates)
    assert purposes(run).count("answer") == 1


async def test_leaving_cancels_what_is_open() -> None:
    backend, run = drawing(hangs(after=1))
    task = asyncio.create_task(cot_pot().run(run))
    await until(lambda: backend.running == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (backend.running, len(backend.cancelled)) == (0, 2)


@pytest.mark.parametrize(
    ("facts", "param"),
    [
        ({"request": a_request(n=2)}, "n"),
        ({"request": a_request(logprobs=True)}, "logprobs"),
        ({"request": a_request(extra={"tools": [{}]})}, "tools"),
        (
            {"request": a_request(extra={"response_format": {"type": "json_object"}})},
            "response_format",
        ),
        ({"verifier": FakeVerifier({})}, "entroute.verifier"),
        ({"request": a_request(extra={"response_format": {"type": "text"}})}, None),
        ({"request": a_request(temperature=0)}, None),
    ],
)
def test_what_it_cannot_honour_is_refused_by_name(facts: dict[str, Any], param: str | None) -> None:
    _, run = drawing(answers(42), **facts)
    assert refused(cot_pot(), run) == param


def test_a_server_without_a_sandbox_refuses_it() -> None:
    _, run = drawing(answers(42))
    assert refused(CotPotConfig().build(strategy_parts()), run) == "entroute.strategy"


async def test_a_pinned_tier_is_not_left() -> None:
    backend, run = drawing(answers(41), prints(42), large=answers(43), pinned="small")
    outcome = await cot_pot(escalate=True).run(run)
    assert outcome.tier == "small"
    assert len(backend.calls) > 2


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValidationError):
        CotPotConfig.model_validate({"kind": "cot_pot", "sample": 3})


async def test_programs_see_only_their_own_code() -> None:
    sandbox = FakeSandbox(executed)
    _, run = drawing(answers(42), prints(42))
    await cot_pot(sandbox).run(run)
    assert sandbox.sources == ["print(42)\n"]
