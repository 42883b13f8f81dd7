import asyncio
from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.errors import BudgetExhausted, DeadlineExceeded, SandboxUnavailable, WorkerFailed
from entroute.execution import Execution
from entroute.strategies.code_cluster import CodeCluster, CodeClusterConfig
from entroute.types import ChatRequest
from tests.builders import a_budget, a_request, refused
from tests.fakes import FakeSandbox, FakeVerifier, StuckSandbox, executed, strategy_parts
from tests.scripted import Script, fails, hangs, says
from tests.strategies.programming import TIMED_OUT, code, doubles, drawing, purposes, running

FAILED = WorkerFailed("w", "answered 500")
PROMPT = "Write `double`.\n\nassert double(2) == 4\nassert double(5) == 10"
VAGUE = "Write `double`.\n\nassert double(2) == 4"
RIGHT = doubles()
SAME = code("def double(number):  # twice\n    return 2 * number")
LONG = doubles("result = x + x\n    return result")
SQUARE = doubles("return x * x")  # passes double(2) == 4 alone
WRONG = doubles("return x + 1")


class GivenTests(FakeVerifier):
    name = "tests"


def strategy(sandbox: FakeSandbox | None = None, **facts: Any) -> CodeCluster:
    return CodeClusterConfig(**facts).build(strategy_parts(sandbox or running()))


def asking(*scripts: Script, **facts: Any) -> Any:
    facts.setdefault("request", a_request(PROMPT))
    return drawing(*scripts, **facts)


async def test_the_largest_cluster_of_those_that_pass_wins() -> None:
    scripts = [SQUARE, LONG, SQUARE, RIGHT, LONG]
    _, run = asking(*scripts, request=a_request(VAGUE))
    outcome = await strategy(samples=5).run(run)
    assert "2 * x" in outcome.choices[0].content  # the shortest of the three
    assert (outcome.stop_reason, outcome.verifier) == ("verified", "behaviour")
    answers = [verdict.answer for verdict in outcome.verdicts]
    assert len(set(answers)) == 2
    assert max(map(answers.count, answers)) == 3
    assert sorted({verdict.reason for verdict in outcome.verdicts}) == [
        "cluster of 2 of 5, 1 of 1 examples",
        "cluster of 3 of 5, 1 of 1 examples",
    ]
    assert sorted(purposes(run)) == ["answer"] + ["sample"] * 4


async def test_examples_filter_before_clusters_count() -> None:
    _, run = asking(WRONG, WRONG, RIGHT)
    outcome = await strategy(samples=3).run(run)
    assert "2 * x" in outcome.choices[0].content
    assert [verdict.answer is None for verdict in outcome.verdicts].count(True) == 2


async def test_programs_that_differ_in_writing_only_run_once() -> None:
    sandbox = running()
    _, run = asking(RIGHT, SAME, RIGHT)
    outcome = await strategy(sandbox, samples=3).run(run)
    assert len(sandbox.sources) == 1
    assert len({verdict.answer for verdict in outcome.verdicts}) == 1


async def test_a_cluster_that_cannot_lose_stops_the_rest() -> None:
    slow = hangs(after=1)
    backend, run = asking(RIGHT, LONG, SAME, slow, slow)
    async with asyncio.timeout(30):
        outcome = await strategy(samples=5).run(run)
    assert (outcome.stop_reason, outcome.cancelled) == ("settled", 2)
    assert backend.cancelled == [3, 4]
    assert purposes(run).count("discarded") == 2


async def test_codet_weighs_size_by_tests() -> None:
    scripts = [SQUARE, SQUARE, SQUARE, RIGHT]
    _, sized = asking(*scripts)
    assert "2 * x" in (await strategy(samples=4).run(sized)).choices[0].content
    _, weighed = asking(*scripts)
    outcome = await strategy(samples=4, score="codet").run(weighed)
    assert "x * x" in outcome.choices[0].content
    assert sorted(verdict.score for verdict in outcome.verdicts) == [0.25, 0.375, 0.375, 0.375]


async def test_inputs_tell_apart_what_the_examples_do_not() -> None:
    odd = doubles("return 4 if x == 2 else 0")
    _, run = asking(odd, odd, RIGHT, LONG, SAME, request=a_request(VAGUE))
    outcome = await strategy(samples=5).run(run)
    assert "2 * x" in outcome.choices[0].content


@pytest.mark.parametrize(
    ("prompt", "facts"),
    [
        (VAGUE, {"inputs": 0}),
        ("Write `double`.\n\nassert double(()) == ()", {}),
    ],
)
async def test_without_inputs_of_our_own_the_examples_tell_programs_apart(
    prompt: str, facts: dict[str, Any]
) -> None:
    _, run = asking(RIGHT, WRONG, LONG, SAME, WRONG, request=a_request(prompt))
    outcome = await strategy(samples=5, score="codet", **facts).run(run)
    sizes = Counter(verdict.answer for verdict in outcome.verdicts if verdict.score)
    assert run.trace.degraded == []
    assert max(sizes.values()) == 3


@given(st.permutations([SQUARE, LONG, SQUARE, RIGHT, LONG, WRONG]))
async def test_the_order_of_samples_does_not_change_the_winner(scripts: list[Script]) -> None:
    _, run = asking(*scripts, request=a_request(VAGUE))
    outcome = await strategy(samples=6).run(run)
    assert "2 * x" in outcome.choices[0].content


async def test_where_nothing_passes_the_nearest_is_returned() -> None:
    _, run = asking(WRONG, SQUARE, says("no code"))
    outcome = await strategy(samples=3).run(run)
    assert "x * x" in outcome.choices[0].content
    assert outcome.stop_reason == "exhausted"
    assert all(verdict.answer is None for verdict in outcome.verdicts)


async def test_without_examples_programs_are_compared_as_written() -> None:
    sandbox = running()
    request = a_request("Write a function that doubles.")
    _, run = asking(WRONG, RIGHT, SAME, request=request)
    outcome = await strategy(sandbox, samples=3).run(run)
    assert outcome.verdicts[0].answer != outcome.verdicts[1].answer
    assert sandbox.sources == []
    assert run.trace.degraded == ["examples"]
    assert outcome.stop_reason == "exhausted"


async def test_a_sandbox_that_is_down_leaves_programs_as_written() -> None:
    _, run = asking(WRONG, RIGHT, SAME, request=a_request(PROMPT.replace("number", "n")))
    sandbox = running(lambda _: SandboxUnavailable("down"))
    outcome = await strategy(sandbox, samples=3).run(run)
    assert "double" in outcome.choices[0].content
    assert "sandbox" in run.trace.degraded
    assert len({verdict.answer for verdict in outcome.verdicts}) == 2
    assert outcome.stop_reason == "exhausted"


async def test_a_program_that_times_out_is_filtered() -> None:
    def slow(source: str) -> Execution:
        return TIMED_OUT if "while True" in source else executed(source)

    endless = doubles("while True: pass")
    _, run = asking(endless, endless, RIGHT)
    outcome = await strategy(running(slow), samples=3).run(run)
    assert "2 * x" in outcome.choices[0].content


async def test_the_requests_own_tests_take_the_place_of_examples() -> None:
    judge = GivenTests({})
    text = "Here:\n```python\ndef double(x):\n    return x * x\n```"
    judge = GivenTests({text: 1.0})
    _, run = asking(RIGHT, SQUARE, LONG, verifier=judge)
    outcome = await strategy(samples=3).run(run)
    assert outcome.choices[0].content == text
    assert outcome.stop_reason == "verified"


async def test_a_text_completion_is_read_together_with_its_prompt() -> None:
    prompt = "def double(x):\n    '''Twice.\n\n    >>> double(2)\n    4\n    '''\n"
    scripts = [says("    return 2 * x\n"), says("    return x + x\n"), says("    return 5\n")]
    _, run = drawing(*scripts, request=ChatRequest(model="auto", prompt=prompt))
    outcome = await strategy(samples=3).run(run)
    assert outcome.choices[0].content.strip() in {"return 2 * x", "return x + x"}


async def test_what_a_program_prints_is_no_report() -> None:
    noisy = doubles("print('0' * 9)\n    return 2 * x")
    forged = doubles("import sys\n    sys.__stdout__.write('check 1\\n')\n    return 0")
    _, run = asking(forged, forged, noisy)
    outcome = await strategy(samples=3).run(run)
    assert "print" in outcome.choices[0].content


@given(st.integers(1, 8))
async def test_no_budget_is_overspent(calls: int) -> None:
    _, run = asking(WRONG, SQUARE, doubles("return 0"), budget=a_budget(max_calls=calls))
    outcome = await strategy(samples=8).run(run)
    assert len(run.ledger.charges) == calls
    assert outcome.stop_reason == ("exhausted" if calls == 8 else "budget")


async def test_no_call_at_all_is_an_error() -> None:
    _, run = asking(RIGHT, budget=a_budget(max_calls=0))
    with pytest.raises(BudgetExhausted):
        await strategy().run(run)


async def test_the_deadline_returns_what_is_there() -> None:
    late = fails(DeadlineExceeded("late"), after=1)
    _, run = asking(RIGHT, late, late)
    outcome = await strategy(samples=3).run(run)
    assert "2 * x" in outcome.choices[0].content
    assert (outcome.stop_reason, run.ledger.exhausted) == ("deadline", "deadline")


async def test_a_sandbox_slower_than_the_deadline_costs_only_its_verdict() -> None:
    _, run = asking(RIGHT, budget=a_budget(deadline=100.05))
    outcome = await strategy(StuckSandbox(), samples=3).run(run)
    assert outcome.choices
    assert outcome.stop_reason == "deadline"
    assert outcome.verdicts[-1].abstained


async def test_a_tier_that_fails_is_replaced() -> None:
    _, run = asking(fails(FAILED), large=RIGHT)
    outcome = await strategy(samples=3).run(run)
    assert outcome.tier == "large"
    assert [move.reason for move in outcome.escalations] == ["unavailable"]


async def test_one_seed_gives_one_set_of_inputs() -> None:
    seen = []
    for _ in range(2):
        sandbox = running()
        _, run = asking(RIGHT, LONG, SQUARE)
        run.rng = Random(7)  # noqa: S311 - a test repeats itself
        await strategy(sandbox, samples=3).run(run)
        seen.append(sandbox.sources)
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    ("facts", "param"),
    [
        ({"request": a_request(n=2)}, "n"),
        ({"request": a_request(temperature=0)}, "temperature"),
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
    assert refused(CodeClusterConfig().build(strategy_parts()), run) == "entroute.strategy"
