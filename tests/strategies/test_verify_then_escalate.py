import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.errors import DeadlineExceeded, SandboxUnavailable, WorkerFailed
from entroute.execution import Execution
from entroute.strategies.verify_then_escalate import VerifyThenEscalate, VerifyThenEscalateConfig
from entroute.types import ChatRequest
from tests.builders import a_budget, a_request, refused
from tests.fakes import FakeSandbox, FakeVerifier, executed, strategy_parts
from tests.scripted import fails, hangs, says
from tests.strategies.programming import TIMED_OUT, doubles, drawing, purposes, running

FAILED = WorkerFailed("w", "answered 500")
PROMPT = '''Complete this function.

def double(x):
    """Return twice x.

    >>> double(2)
    4
    >>> double(5)
    10
    """
'''
WRONG = doubles("return x * x")
RIGHT = doubles()


class GivenTests(FakeVerifier):
    name = "tests"


def strategy(sandbox: FakeSandbox | None = None, **facts: Any) -> VerifyThenEscalate:
    return VerifyThenEscalateConfig(**facts).build(strategy_parts(sandbox or running()))


def asking(*scripts: Any, **facts: Any) -> Any:
    facts.setdefault("request", a_request(PROMPT))
    return drawing(*scripts, **facts)


async def test_code_that_passes_the_examples_is_the_answer() -> None:
    backend, run = asking(RIGHT, large=RIGHT)
    outcome = await strategy().run(run)
    assert (outcome.tier, outcome.stop_reason, outcome.verifier) == (
        "small",
        "verified",
        "examples",
    )
    assert outcome.verdicts[0].reason == "2 of 2 examples"
    assert "return 2 * x" in outcome.choices[0].content
    assert (len(backend.calls), purposes(run)) == (1, ["answer"])


async def test_failing_code_goes_up() -> None:
    backend, run = asking(WRONG, large=RIGHT)
    outcome = await strategy().run(run)
    assert (outcome.tier, outcome.stop_reason) == ("large", "verified")
    assert [verdict.score for verdict in outcome.verdicts] == [0.5, 0.5, 1.0]
    assert [move.reason for move in outcome.escalations] == ["rejected"]
    assert len(backend.calls) == 2


async def test_the_largest_tiers_answer_is_returned_where_nothing_passes() -> None:
    _, run = asking(WRONG, large=doubles("return 0"))
    outcome = await strategy(samples=1).run(run)
    assert (outcome.tier, outcome.stop_reason) == ("large", "exhausted")
    assert "return 0" in outcome.choices[0].content


async def test_a_wave_is_judged_as_it_comes_and_its_losers_are_cancelled() -> None:
    backend, run = asking(WRONG, RIGHT, hangs(after=1))
    async with asyncio.timeout(30):
        outcome = await strategy(samples=4, waves=(4,)).run(run)
    assert outcome.stop_reason == "verified"
    assert (outcome.cancelled, len(backend.cancelled)) == (2, 2)


@pytest.mark.parametrize(
    "answer",
    [
        says("I would rather not"),
        doubles(name="triple"),
        doubles("return 2 *"),
        doubles("raise SystemExit(0)"),
    ],
)
async def test_what_is_no_such_function_fails(answer: Any) -> None:
    _, run = asking(answer, large=RIGHT)
    outcome = await strategy(samples=1).run(run)
    assert outcome.tier == "large"
    assert outcome.verdicts[0].score == 0


async def test_code_that_times_out_fails() -> None:
    def slow(source: str) -> Execution:
        return TIMED_OUT if "while True" in source else executed(source)

    _, run = asking(doubles("while True: pass"), large=RIGHT)
    outcome = await strategy(running(slow), samples=1).run(run)
    assert outcome.tier == "large"
    assert outcome.verdicts[0].score == 0


async def test_a_sandbox_that_is_down_costs_the_check_not_the_answer() -> None:
    backend, run = asking(RIGHT, large=RIGHT)
    outcome = await strategy(running(lambda _: SandboxUnavailable("down"))).run(run)
    assert (outcome.tier, outcome.stop_reason) == ("small", "exhausted")
    assert run.trace.degraded == ["sandbox", "verifier"]
    assert (outcome.verdicts[0].abstained, outcome.verdicts[0].failed) == (True, True)
    assert len(backend.calls) == 1


async def test_a_prompt_without_examples_is_answered_plainly() -> None:
    backend, run = asking(RIGHT, request=a_request("Write a function that doubles."))
    outcome = await strategy().run(run)
    assert "return 2 * x" in outcome.choices[0].content
    assert run.trace.degraded == ["examples"]
    assert (outcome.verdicts, outcome.stop_reason) == ((), "exhausted")
    assert (len(backend.calls), purposes(run)) == (1, ["answer"])


async def test_the_requests_own_tests_judge_in_place_of_examples() -> None:
    _, run = asking(says("no"), large=says("yes"), verifier=GivenTests({"yes": 1.0, "no": 0.3}))
    outcome = await strategy().run(run)
    assert (outcome.choices[0].content, outcome.verifier) == ("yes", "tests")


async def test_a_text_completion_is_run_together_with_its_prompt() -> None:
    request = ChatRequest(model="auto", prompt=PROMPT.partition("\n\n")[2])
    _, run = asking(says("    return 2 * x\n"), request=request)
    assert (await strategy().run(run)).stop_reason == "verified"


async def test_imports_of_the_prompt_are_there() -> None:
    prompt = "from math import floor\n\nassert down(2.5) == 2"
    _, run = asking(doubles("return floor(x)", name="down"), request=a_request(prompt))
    assert (await strategy().run(run)).stop_reason == "verified"


async def test_one_call_is_left_for_the_larger_tier() -> None:
    _, run = asking(WRONG, large=RIGHT, budget=a_budget(max_calls=2))
    outcome = await strategy(samples=4).run(run)
    assert (outcome.tier, outcome.stop_reason) == ("large", "verified")


@given(st.integers(1, 10))
async def test_no_budget_is_overspent(calls: int) -> None:
    _, run = asking(WRONG, large=WRONG, budget=a_budget(max_calls=calls))
    outcome = await strategy(samples=4).run(run)
    assert len(run.ledger.charges) == min(calls, 8)
    assert outcome.stop_reason == ("budget" if calls < 8 else "exhausted")


async def test_the_deadline_returns_what_is_there() -> None:
    late = fails(DeadlineExceeded("late"), after=1)
    _, run = asking(WRONG, late, large=RIGHT)
    outcome = await strategy().run(run)
    assert (outcome.tier, outcome.stop_reason) == ("small", "deadline")


async def test_a_larger_tier_that_fails_leaves_the_smaller_ones_answer() -> None:
    _, run = asking(WRONG, large=fails(FAILED))
    outcome = await strategy(samples=1).run(run)
    assert (outcome.tier, run.trace.degraded) == ("small", ["tier:large"])


async def test_temperature_zero_draws_one_sample_a_tier() -> None:
    backend, run = asking(WRONG, large=RIGHT, request=a_request(PROMPT, temperature=0))
    await strategy(samples=4).run(run)
    assert len(backend.calls) == 1


@pytest.mark.parametrize(
    ("facts", "param"),
    [
        ({"request": a_request(n=2)}, "n"),
        ({"request": a_request(extra={"tools": [{}]})}, "tools"),
        ({"verifier": FakeVerifier({})}, "entroute.verifier"),
        ({"verifier": GivenTests({})}, None),
        ({"pinned": "small"}, None),
    ],
)
def test_what_it_cannot_honour_is_refused_by_name(facts: dict[str, Any], param: str | None) -> None:
    _, run = asking(RIGHT, **facts)
    assert refused(strategy(), run) == param


def test_a_server_without_a_sandbox_refuses_it() -> None:
    _, run = asking(RIGHT)
    assert refused(VerifyThenEscalateConfig().build(strategy_parts()), run) == "entroute.strategy"
