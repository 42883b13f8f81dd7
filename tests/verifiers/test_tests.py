import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from entroute.errors import InvalidRequest, SandboxUnavailable
from entroute.evidence import Verdict
from entroute.execution import Execution, ExecutionStatus
from entroute.protocols import Sandbox
from entroute.verifiers import build_verifier
from tests.builders import a_completion, a_request, a_run, a_tier
from tests.fakes import FakeSandbox, executed, verifier_parts
from tests.processes import NOISE, OwnProcess

ADD = "def add(a, b):\n    return a + b\n"
TESTS = ["assert add(1, 2) == 3", "assert add(-1, 1) == 0", "assert add(2, 2) == 5"]


async def judged(
    *texts: str, sandbox: Sandbox | None = None, **options: Any
) -> tuple[Verdict, ...]:
    parts = verifier_parts(sandbox=sandbox or FakeSandbox(executed))
    verifier = build_verifier({"kind": "tests", "tests": TESTS, **options}, parts)
    return await verifier.score(a_request(), [a_completion(text) for text in texts])


def refusal(**options: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        build_verifier({"kind": "tests", **options}, verifier_parts(sandbox=FakeSandbox(executed)))
    return caught.value


async def test_the_score_is_the_share_of_tests_passed_and_the_reason_names_the_first_failure() -> (
    None
):
    (verdict,) = await judged(f"```python\n{ADD}```")
    assert verdict.score == pytest.approx(2 / 3)
    assert verdict.reason == ("2 of 3 tests pass; test 3: AssertionError: assert add(2, 2) == 5")


async def test_code_that_passes_everything_scores_one() -> None:
    (verdict,) = await judged(ADD, tests=TESTS[:2])
    assert (verdict.score, verdict.reason) == (1.0, "all 2 tests pass")


async def test_the_block_that_defines_the_entry_point_is_the_code() -> None:
    text = f"```python\n{ADD}```\nUse it:\n```python\nprint(add(1, 2))\nprint('{'x' * 99}')\n```"
    (by_name,) = await judged(text, tests=TESTS[:2], entry_point="add")
    (by_length,) = await judged(text, tests=TESTS[:2])
    assert (by_name.score, by_length.score) == (1, 0)
    assert "NameError" in by_length.reason


async def test_a_check_is_called_with_the_entry_point() -> None:
    check = "def check(candidate):\n    assert candidate(1, 1) == 2"
    (right,) = await judged(ADD, tests=check, entry_point="add")
    (wrong,) = await judged(ADD.replace("+", "-"), tests=check, entry_point="add")
    (absent,) = await judged("x = 1", tests=check, entry_point="add")
    assert [right.score, wrong.score, absent.score] == [1, 0, 0]


async def test_of_a_single_source_each_assert_and_each_test_function_is_a_test() -> None:
    source = (
        "two = 2\nassert add(1, 1) == two\nassert add(1, 1) == 3\n"
        "def test_zero():\n    assert add(0, 0) == 0\n"
        "def test_wrong():\n    assert add(0, 0) == 1\n"
    )
    (verdict,) = await judged(ADD, tests=source)
    assert verdict.score == 0.5
    assert "test 2: AssertionError" in verdict.reason
    (one,) = await judged(ADD, tests=[source, "assert True"])
    assert one.score == 0.5


async def test_tests_do_not_see_each_others_names() -> None:
    (verdict,) = await judged(ADD, tests=["add = None\nassert not add", TESTS[0]])
    assert verdict.score == 1


@pytest.mark.parametrize("code", ["raise ValueError('no')", "def add(", "import sys; sys.exit(0)"])
async def test_code_that_does_not_run_scores_zero(code: str) -> None:
    (verdict,) = await judged(code)
    assert verdict.score == 0
    assert not verdict.abstained
    assert verdict.reason.startswith("the code does not run: ")


async def test_what_the_code_prints_is_not_taken_for_a_report() -> None:
    noisy = f'{ADD}\nprint(\'{{"loaded": true}}\')\nfor _ in range(9): print(\'{{"error": ""}}\')'
    (verdict,) = await judged(noisy)
    assert verdict.score == pytest.approx(2 / 3)


async def test_leaving_early_is_a_failure_and_no_pass() -> None:
    (verdict,) = await judged(f"{ADD}\nimport sys", tests=["sys.exit(0)", "assert True"])
    assert verdict.score == 0.5
    assert "SystemExit" in verdict.reason


async def test_identical_code_is_run_once_in_one_run() -> None:
    sandbox = FakeSandbox(executed)
    verdicts = await judged(ADD, f"```\n{ADD}```", f"```py\n{ADD}```", sandbox=sandbox)
    assert [verdict.score for verdict in verdicts] == pytest.approx([2 / 3] * 3)
    assert len(sandbox.sources) == 1


def reports(source: str, *lines: dict[str, Any]) -> str:
    """Return what a program prints that reports these lines."""
    found = re.search(r"nonce='([0-9a-f]{32})'", source)
    assert found
    return "".join(f"\n{found[1]}{json.dumps(line)}\n" for line in lines)


def dying(at: str, status: ExecutionStatus = "killed") -> Callable[[str], Execution]:
    """Return a sandbox's run that passes every test before `at` and dies there."""

    def execute(source: str) -> Execution:
        line = re.search(r"FACTS = json.loads\((.*)\)\n", source)
        assert line
        tests = json.loads(json.loads(line[1]))["tests"]
        passed = tests.index(at) if at in tests else len(tests)
        said = reports(source, {"loaded": True}, *[{"error": ""}] * passed)
        if passed == len(tests):
            return Execution("ok", said)
        return Execution(status, said, "out of memory")

    return execute


async def test_after_a_test_that_kills_the_process_the_others_run_in_a_fresh_one() -> None:
    sandbox = FakeSandbox(dying(TESTS[1]))
    (verdict,) = await judged(ADD, sandbox=sandbox)
    assert verdict.score == pytest.approx(2 / 3)
    assert verdict.reason == "2 of 3 tests pass; test 2: out of memory"
    assert len(sandbox.sources) == 2


async def test_code_that_kills_every_run_is_run_a_few_times_only() -> None:
    sandbox = FakeSandbox(
        lambda source: Execution("killed", reports(source, {"loaded": True}), "gone")
    )
    (verdict,) = await judged(ADD, tests=["assert True"] * 20, sandbox=sandbox)
    assert verdict.score == 0
    assert len(sandbox.sources) == 5


async def test_code_that_runs_too_long_scores_zero() -> None:
    (verdict,) = await judged(ADD, sandbox=FakeSandbox(dying(TESTS[2], "timeout")), timeout_s=3)
    assert (verdict.score, verdict.abstained) == (0, False)
    assert verdict.reason == "ran longer than 3 s"


async def test_a_sandbox_that_cannot_run_is_an_abstention() -> None:
    sandbox = FakeSandbox(lambda _: SandboxUnavailable("no room"))
    (verdict,) = await judged(ADD, sandbox=sandbox)
    assert (verdict.abstained, verdict.failed) == (True, True)
    assert verdict.reason == "the sandbox cannot run it"


@pytest.mark.parametrize(
    "lines",
    [
        [{"loaded": True}, *[{"error": ""}] * 99],
        [{"loaded": 1}, {"error": None}, {"other": [1]}, {}, {}],
        [{}],
    ],
)
async def test_forged_reports_stay_within_bounds(lines: list[dict[str, Any]]) -> None:
    sandbox = FakeSandbox(lambda source: Execution("ok", reports(source, *lines)))
    (verdict,) = await judged(ADD, sandbox=sandbox)
    assert 0 <= verdict.score <= 1


@pytest.mark.parametrize("kept", [0, 1, 2])
async def test_a_report_that_is_cut_short_scores_zero_and_says_so(kept: int) -> None:
    def execute(source: str) -> Execution:
        whole: list[dict[str, Any]] = [{"loaded": True}, {"error": ""}, {"error": ""}]
        return Execution("ok", reports(source, *whole[:kept]) + reports(source, whole[kept])[:-3])

    (verdict,) = await judged(ADD, tests=TESTS[:2], sandbox=FakeSandbox(execute))
    assert (verdict.score, verdict.abstained) == (0, False)
    assert "cut short" in verdict.reason


@pytest.mark.parametrize(
    "noise",
    [
        *NOISE,
        "print('x' * 200_000)",
    ],
)
async def test_output_below_print_does_not_cost_a_right_answer_its_verdict(noise: str) -> None:
    (verdict,) = await judged(f"{ADD}\n{noise}", tests=TESTS[:2], sandbox=OwnProcess())
    assert (verdict.score, verdict.reason) == (1, "all 2 tests pass")


async def test_fifty_long_errors_fit_into_a_report() -> None:
    tests = [f"assert add(1, 2) == {i}, '\\U0001f600' * 999" for i in range(50)]
    (verdict,) = await judged(ADD, tests=tests, sandbox=OwnProcess())
    assert verdict.score == pytest.approx(1 / 50)


async def test_what_an_error_says_can_be_written_in_an_answer() -> None:
    (verdict,) = await judged("raise ValueError('\\ud800')", sandbox=OwnProcess())
    assert verdict.reason.encode() == b"the code does not run: ValueError: ?"


FORMS = {
    "an assert": "assert add(1, 2) == 3",
    "asserts in a list": ["assert add(1, 2) == 3", "assert add(2, 2) == 4"],
    "a function": "def test_add():\n    assert add(1, 2) == 3",
    "a function in a list": ["x = 3\ndef test_add():\n    assert add(1, 2) == x"],
    "a helper": "def same(a, b):\n    assert a == b\ndef test_add():\n    same(add(1, 2), 3)",
    "a loop": "for a, b, c in [(1, 2, 3), (2, 3, 5)]:\n    assert add(a, b) == c",
    "a loop after functions": (
        "def test_add():\n    assert add(1, 2) == 3\n"
        "for a in (1, 2):\n    assert add(a, 1) == a + 1"
    ),
    "a raise": "if add(1, 2) != 3:\n    raise ValueError",
    "an exit": "import sys\nif add(1, 2) != 3:\n    sys.exit(1)",
    "a coroutine that is run": (
        "import asyncio\nasync def test_add():\n    assert add(1, 2) == 3\nasyncio.run(test_add())"
    ),
    "a check that is called": (
        "def check(candidate):\n    assert candidate(1, 2) == 3\ncheck(add)"
    ),
    "assertions of unittest": "import unittest\nunittest.TestCase().assertEqual(add(1, 2), 3)",
    "a main block": (
        "def run():\n    assert add(1, 2) == 3\nif __name__ == '__main__':\n    run()"
    ),
}


@pytest.mark.parametrize("form", FORMS)
async def test_wrong_code_fails_and_right_code_passes_tests_of_every_form(form: str) -> None:
    verdicts = await judged(ADD, ADD.replace("+", "-"), tests=FORMS[form], sandbox=OwnProcess())
    assert [verdict.score for verdict in verdicts] == [1, 0]


async def test_a_check_of_the_candidate_is_not_taken_for_the_tests() -> None:
    code = f"{ADD}\ndef check(a, b, c):\n    return a, b, c"
    (verdict,) = await judged(code, tests=TESTS[:2], entry_point="add")
    assert verdict.score == 1


@pytest.mark.parametrize(
    ("tests", "words"),
    [
        ("def check(candidate):\n    assert candidate(1, 2) == 3", "Set entry_point"),
        (["assert True", "def check(f):\n    assert f(1, 2) == 3\nassert 1"], "Test 2: nothing"),
        (
            "import unittest as u\nclass Adds(u.TestCase):\n  def test_add(self):\n    assert 0",
            "class Adds",
        ),
        ("class TestAdd:\n    def test_add(self):\n        assert add(1, 2) == 3", "class TestAdd"),
        ("class A:\n    def test_a(self):\n        assert 0\nassert True", "test_* functions"),
        ("async def test_add():\n    assert add(1, 2) == 3", "asyncio.run"),
        ("def test_add():\n    yield\n    assert add(1, 2) == 3", "nothing runs test_add"),
        ("def testAdd():\n    assert add(1, 2) == 3", "nothing runs testAdd"),
        ("def test_add():\n    print(add(1, 2))", "runs no assert"),
        ("assert True\ndef test_add():\n    add(1, 2) == 3", "Test 2 runs no assert"),
        ("print(add(1, 2) == 3)", "runs no assert"),
        (["assert True", "add(1, 2) == 3"], "Test 2 runs no assert"),
        ("def same(a, b):\n    assert a == b", "runs no assert"),
        ("def a():\n    b()\ndef b():\n    a()\na()", "runs no assert"),
    ],
)
def test_tests_that_any_code_would_pass_are_refused_with_advice(tests: object, words: str) -> None:
    error = refusal(tests=tests)
    assert error.param == "entroute.verifier.tests"
    assert words in error.message


@pytest.mark.parametrize(
    ("tests", "words"),
    [
        (["assert ("], "Test 1 is no Python"),
        (["assert True", "def"], "Test 2 is no Python"),
        ("# nothing", "Test 1 is no Python"),
        ("a\0b", "Test 1 is no Python"),
        ("\ud800", "Test 1 is no Python"),
        ("x = 1\n" * 12_000, "bytes"),
        ("assert True\n" * 51, "51 tests"),
        (["assert True"] * 51, "at most 50"),
        ("x = '" + "a" * 9000 + "'\n" + "assert x\n" * 50, "too long to run"),
        ("x\n" * 8000 + "assert x\n" * 50, "too long to run"),
        ("assert x == 0x" + "f" * 9000, "huge number"),
        ([], "at least 1"),
    ],
)
def test_malformed_tests_are_refused_by_their_field(tests: object, words: str) -> None:
    error = refusal(tests=tests)
    assert error.param is not None
    assert error.param.startswith("entroute.verifier.tests")
    assert words in error.message


@pytest.mark.parametrize(
    ("option", "param"),
    [
        ({"timeout_s": 31}, "timeout_s"),
        ({"timeout_s": 0.5}, "timeout_s"),
        ({"entry_point": "a.b"}, "entry_point"),
    ],
)
def test_other_fields_have_bounds(option: dict[str, Any], param: str) -> None:
    assert refusal(tests=TESTS, **option).param == f"entroute.verifier.{param}"


def test_without_a_sandbox_it_is_refused_and_the_operator_named() -> None:
    with pytest.raises(InvalidRequest, match="operator must switch the sandbox on") as caught:
        build_verifier({"kind": "tests", "tests": TESTS}, verifier_parts())
    assert caught.value.param == "entroute.verifier.kind"


async def test_nothing_is_charged() -> None:
    run = a_run(a_tier("small"))
    parts = verifier_parts(run=run, sandbox=FakeSandbox(executed))
    await build_verifier({"kind": "tests", "tests": TESTS}, parts).score(
        a_request(), [a_completion(ADD)]
    )
    assert run.ledger.charges == ()
