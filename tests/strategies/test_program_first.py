from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.errors import DeadlineExceeded, SandboxUnavailable, WorkerFailed
from entroute.spending import Price
from entroute.strategies.program_first import ProgramFirst, ProgramFirstConfig
from entroute.strategies.programs import PROGRAM_LINE
from tests.builders import a_budget, a_request, a_run, a_tier, refused
from tests.fakes import FakeSandbox, FakeVerifier, strategy_parts
from tests.scripted import FakeBackend, Script, fails, says
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


def program_first(sandbox: FakeSandbox | None = None, **facts: Any) -> ProgramFirst:
    return ProgramFirstConfig(**facts).build(strategy_parts(sandbox or running()))


async def test_one_program_that_prints_a_value_is_enough() -> None:
    backend, run = drawing(prints(42), large=answers(43))
    outcome = await program_first().run(run)
    assert outcome.choices[0].content == "The answer is 42."
    assert (outcome.tier, outcome.stop_reason, outcome.escalations) == ("small", "settled", ())
    assert purposes(run) == ["answer"]
    assert backend.calls[0].request.text.endswith(PROGRAM_LINE)
    assert outcome.verdicts[0].reason == "the program printed 42"
    assert outcome.verdicts[0].answer == "42"


@pytest.mark.parametrize(
    "program",
    [
        says("I would rather not"),
        code("print(1 / 0)"),
        code("x = 42"),
        code("print('a walk in the park')"),
        code("print(1)\nprint(2)"),
        code("print(None)"),
        code("print(float('nan'))"),
        code("print(6 == 7)"),
        code("print('9' * 500)"),
        code("print('broken'"),
    ],
)
async def test_a_program_without_one_value_goes_up(program: Script) -> None:
    _, run = drawing(program, large=answers(43))
    outcome = await program_first().run(run)
    assert outcome.choices[0].content == "So the answer is 43."
    assert (outcome.tier, outcome.stop_reason) == ("large", "escalated")
    assert [move.reason for move in outcome.escalations] == ["rejected"]
    assert purposes(run) == ["sample", "answer"]
    assert outcome.usage.calls == 0  # the gateway adds the charges
    assert spent(run) == sum(c.usage.completion_tokens for c in outcome.candidates)


async def test_the_reasoned_answer_is_asked_for_as_the_client_asked() -> None:
    backend, run = drawing(code("x = 42"), answers(43))
    outcome = await program_first().run(run)
    assert backend.calls[1].request is run.request
    assert (outcome.stop_reason, outcome.escalations) == ("exhausted", ())
    assert outcome.choices[0].content == "So the answer is 43."


async def test_a_second_program_may_have_to_confirm() -> None:
    _, agreeing = drawing(prints(42), prints("42.0"), large=answers(43))
    assert (await program_first(confirm=True).run(agreeing)).stop_reason == "settled"
    _, differing = drawing(prints(42), prints(41), large=answers(43))
    outcome = await program_first(confirm=True).run(differing)
    assert (outcome.tier, outcome.stop_reason) == ("large", "escalated")
    assert len(outcome.candidates) == 3


async def test_at_temperature_zero_no_program_confirms_itself() -> None:
    backend, run = drawing(prints(42), request=a_request(temperature=0))
    await program_first(confirm=True).run(run)
    assert len(backend.calls) == 1


async def test_a_program_that_times_out_goes_up() -> None:
    _, run = drawing(prints(42), large=answers(43))
    outcome = await program_first(running(lambda _: TIMED_OUT)).run(run)
    assert outcome.tier == "large"
    assert "timeout" in outcome.verdicts[0].reason


async def test_a_sandbox_that_is_down_goes_up_and_is_noted() -> None:
    _, run = drawing(prints(42), large=answers(43))
    outcome = await program_first(running(lambda _: SandboxUnavailable("down"))).run(run)
    assert outcome.choices[0].content == "So the answer is 43."
    assert run.trace.degraded == ["sandbox"]


async def test_a_larger_tier_that_fails_leaves_the_smaller_one_to_reason() -> None:
    _, run = drawing(code("x = 42"), answers(41), large=fails(FAILED))
    outcome = await program_first().run(run)
    assert outcome.choices[0].content == "So the answer is 41."
    assert run.trace.degraded == ["tier:large"]
    assert len(outcome.failures) == 1


async def test_what_a_program_printed_is_better_than_nothing() -> None:
    small = [prints(42), prints(41), fails(FAILED)]
    _, run = drawing(*small, large=fails(FAILED))
    outcome = await program_first(confirm=True).run(run)
    assert outcome.choices[0].content in {"The answer is 42.", "The answer is 41."}
    assert outcome.stop_reason == "exhausted"


async def test_one_call_alone_is_a_plain_answer() -> None:
    backend, run = drawing(answers(42), budget=a_budget(max_calls=1))
    outcome = await program_first().run(run)
    assert outcome.choices[0].content == "So the answer is 42."
    assert (outcome.stop_reason, run.ledger.exhausted) == ("budget", "max_calls")
    assert backend.calls[0].request is run.request


@given(st.integers(1, 6), st.booleans())
async def test_no_budget_is_overspent(calls: int, confirm: bool) -> None:  # noqa: FBT001
    _, run = drawing(code("x = 1"), large=answers(43), budget=a_budget(max_calls=calls))
    outcome = await program_first(confirm=confirm).run(run)
    assert outcome.choices
    assert len(run.ledger.charges) <= calls


async def test_the_deadline_ends_it() -> None:
    late = fails(DeadlineExceeded("late"), after=1)
    _, run = drawing(prints(42), late, large=answers(43))
    outcome = await program_first(confirm=True).run(run)
    assert outcome.choices[0].content == "The answer is 42."
    assert outcome.stop_reason == "deadline"


async def test_a_tier_that_fails_is_replaced_for_the_program() -> None:
    _, run = drawing(fails(FAILED), large=prints(42))
    outcome = await program_first().run(run)
    assert (outcome.tier, outcome.choices[0].content) == ("large", "The answer is 42.")
    assert [move.reason for move in outcome.escalations] == ["unavailable"]


@pytest.mark.parametrize(
    ("facts", "param"),
    [
        ({"request": a_request(n=2)}, "n"),
        ({"request": a_request(logprobs=True)}, "logprobs"),
        ({"request": a_request(extra={"tools": [{}]})}, "tools"),
        ({"verifier": FakeVerifier({})}, "entroute.verifier"),
        ({"pinned": "small"}, None),
    ],
)
def test_what_it_cannot_honour_is_refused_by_name(facts: dict[str, Any], param: str | None) -> None:
    _, run = drawing(answers(42), **facts)
    assert refused(program_first(), run) == param


def test_a_server_without_a_sandbox_refuses_it() -> None:
    _, run = drawing(answers(42))
    assert refused(ProgramFirstConfig().build(strategy_parts()), run) == "entroute.strategy"


async def test_a_pinned_tier_reasons_itself() -> None:
    _, run = drawing(code("x = 1"), answers(41), large=answers(43), pinned="small")
    outcome = await program_first().run(run)
    assert (outcome.tier, outcome.stop_reason) == ("small", "exhausted")


async def test_a_larger_tier_that_the_budget_does_not_hold_is_what_cut_it_short() -> None:
    small = FakeBackend(code("x = 1"), answers(41))
    large = a_tier("large", answers(43), price=Price(1e6, 1e6))
    run = a_run(a_tier("small", small), large, budget=a_budget(max_cost_usd=1.0))
    outcome = await program_first().run(run)
    assert (outcome.tier, outcome.choices[0].content) == ("small", "So the answer is 41.")
    assert (outcome.stop_reason, run.ledger.exhausted) == ("budget", "max_cost_usd")


async def test_the_noise_of_floats_is_neither_said_nor_counted() -> None:
    _, run = drawing(code("print(0.1 + 0.2)"), prints("0.3"))
    outcome = await program_first(confirm=True).run(run)
    assert outcome.stop_reason == "settled"
    assert outcome.choices[0].content == "The answer is 0.3."


async def test_where_a_number_is_asked_for_nothing_else_is_a_value() -> None:
    asked = a_request("Ann has 3 pens and buys 4. How many pens does Ann have?")
    _, run = drawing(prints("(3, 4)"), answers(7), request=asked)
    assert (await program_first().run(run)).choices[0].content == "So the answer is 7."
    _, run = drawing(prints("Answer: 7 pens"), answers(8), request=asked)
    outcome = await program_first().run(run)
    assert outcome.choices[0].content == "The answer is 7 pens."
    assert outcome.verdicts[0].answer == "7"
