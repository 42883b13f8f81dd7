"""Answers are judged by the verifiers that serve requests."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from entroute.errors import ConfigurationError, SandboxUnavailable
from entroute.evaluation.grading import Grade, Grader, grader, kept, needs_sandbox, restored
from entroute.evaluation.prompts_file import PromptsFile
from entroute.execution import Execution
from entroute.protocols import Sandbox
from entroute.sandbox import BubblewrapConfig
from tests.evaluation.recorded import SAMPLE, a_row, prompts_at
from tests.fakes import FakeAlgebra, FakeSandbox
from tests.processes import OwnProcess

TESTS = {"kind": "tests", "tests": ["assert twice(2) == 4"], "entry_point": "twice"}
SAT = {"kind": "program", "source": "def sat(x):\n    return x == 3", "answer": "code"}


def fenced(code: str) -> str:
    return f"So:\n```python\n{code}\n```"


def a_file(tmp_path: Path, *rows: dict[str, Any]) -> PromptsFile:
    return prompts_at(tmp_path / "prompts.jsonl", rows)


def a_grader(
    file: PromptsFile,
    sandbox: Sandbox | None = None,
    known: dict[str, Grade] | None = None,
    algebra: FakeAlgebra | None = None,
) -> Grader:
    grades = {} if known is None else known
    return Grader(file, sandbox, algebra or FakeAlgebra(), time.monotonic, grades)


async def graded(
    file: PromptsFile, texts: Iterable[str], sandbox: Sandbox | None = None, *, cut: bool = False
) -> list[Grade]:
    judge = a_grader(file, sandbox)
    return [await judge.grade(file.prompts[0], text, cut=cut) for text in texts]


async def test_a_number_is_right_in_any_writing_and_kept_in_one(tmp_path: Path) -> None:
    texts = ["The answer is 42.0.", r"So \boxed{42}", "The answer is 41.", "No idea."]
    assert await graded(a_file(tmp_path, a_row(42)), texts) == [
        Grade(True, "42"),
        Grade(True, "42"),
        Grade(False, "41"),
        Grade(False, None),
    ]


async def test_a_number_that_is_merely_the_last_one_of_a_cut_off_answer_is_none(
    tmp_path: Path,
) -> None:
    file = a_file(tmp_path, a_row(42))
    assert await graded(file, ["6 times 7 = 42"]) == [Grade(True, "42")]
    assert await graded(file, ["6 times 7 = 42"], cut=True) == [Grade(False, None)]


async def test_the_output_of_a_program_is_the_answer_where_one_was_asked_for(
    tmp_path: Path,
) -> None:
    file = a_file(tmp_path, a_row(42, form="program"))
    texts = [fenced("print(6 * 7)"), fenced("print(6 + 7)"), fenced("1 / 0"), "Forty-two."]
    assert await graded(file, texts, OwnProcess()) == [
        Grade(True, "42"),
        Grade(False, "13"),
        Grade(False, None),
        Grade(False, None),
    ]


async def test_code_is_right_if_it_passes_all_tests_and_is_kept_as_a_digest(tmp_path: Path) -> None:
    file = a_file(tmp_path, a_row(1, check=TESTS, form="code"))
    good, same, bad = (
        fenced("def twice(x):\n    return 2 * x"),
        fenced("def twice(x):  # doubles\n    return 2*x"),
        fenced("def twice(x):\n    return x"),
    )
    first, second, third = await graded(file, [good, same, bad], OwnProcess())
    assert (first.right, second.right, third.right) == (True, True, False)
    assert first.answer is not None
    assert first.answer.startswith("code:")
    assert first.answer == second.answer != third.answer


async def test_an_answer_that_satisfies_the_puzzles_predicate_is_right(tmp_path: Path) -> None:
    file = a_file(tmp_path, a_row(1, check=SAT, form="code"))
    texts = [fenced(f"def solution():\n    return {value}") for value in (3, 4)]
    assert [g.right for g in await graded(file, texts, OwnProcess())] == [True, False]


async def test_an_answer_of_the_right_form_is_right(tmp_path: Path) -> None:
    check = {"kind": "schema", "json_schema": {"type": "object", "required": ["a"]}}
    file = a_file(tmp_path, a_row(1, check=check))
    assert [g.right for g in await graded(file, ['{"a": 1}', "{}"])] == [True, False]


async def test_what_the_verifier_cannot_judge_is_neither_right_nor_wrong(tmp_path: Path) -> None:
    file = a_file(tmp_path, a_row(1, check={"kind": "exact", "answer": "x^2+1"}))
    (grade,) = await graded(file, [r"\boxed{1+x^2}"])
    assert grade.right is None
    pair = frozenset(("1+x^2", "x^2+1"))
    judge = a_grader(file, algebra=FakeAlgebra(pair))
    assert (await judge.grade(file.prompts[0], r"\boxed{1+x^2}", cut=False)).right is True


async def test_without_a_check_nothing_is_right_or_wrong(tmp_path: Path) -> None:
    file = a_file(tmp_path, a_row(1, check=None))
    assert await graded(file, ["The answer is 5."]) == [Grade(None, "5")]


async def test_the_same_answer_is_judged_once_also_at_the_same_time(tmp_path: Path) -> None:
    sandbox = FakeSandbox(lambda _: Execution("ok", "42\n"))
    file = a_file(tmp_path, a_row(42, form="program"))
    judge = a_grader(file, sandbox)
    text = fenced("print(6 * 7)")
    grades = [judge.grade(file.prompts[0], text, cut=False) for _ in range(5)]
    assert set(await asyncio.gather(*grades)) == {Grade(True, "42")}
    assert len(sandbox.sources) == 1
    again = a_grader(file, sandbox, restored(kept(judge.known)))
    assert await again.grade(file.prompts[0], text, cut=False) == Grade(True, "42")
    assert len(sandbox.sources) == 1


async def test_nothing_is_remembered_of_an_answer_that_could_not_be_run(tmp_path: Path) -> None:
    results: list[Execution | Exception] = [SandboxUnavailable("down"), Execution("ok", "42\n")]
    sandbox = FakeSandbox(lambda _: results.pop(0))
    file = a_file(tmp_path, a_row(42, form="program"))
    text = fenced("print(6 * 7)")
    judge = a_grader(file, sandbox)
    assert await judge.grade(file.prompts[0], text, cut=False) == Grade(None, None)
    assert await judge.grade(file.prompts[0], text, cut=False) == Grade(True, "42")


async def test_a_sample_is_judged_under_its_prompt(tmp_path: Path) -> None:
    judge = a_grader(a_file(tmp_path, a_row(4)))
    sample = replace(SAMPLE, prompt="q4", text="Es sind 4.")
    done = await judge.graded(sample)
    assert done == replace(sample, right=True, answer="4")
    assert await judge.grades([sample]) == {sample.key: Grade(True, "4")}
    with pytest.raises(ConfigurationError, match=r"'q-1' \(reasoning\) is in the bank and not in"):
        await judge.graded(SAMPLE)
    with pytest.raises(ConfigurationError, match="a summary holds no answers"):
        await judge.graded(replace(sample, text="", completion_tokens=3))


def test_a_check_that_cannot_be_built_is_named_by_its_line(tmp_path: Path) -> None:
    wrong = {"kind": "program", "source": "sat = 3"}
    file = a_file(tmp_path, a_row(1), a_row(2, check=wrong, form="code"))
    with pytest.raises(ConfigurationError, match=r"line 2: check: source must define the function"):
        a_grader(file, OwnProcess())


def test_only_what_runs_programs_needs_a_sandbox(tmp_path: Path) -> None:
    assert not needs_sandbox(a_file(tmp_path, a_row(1), a_row(2, check=None)).prompts)
    for row in [a_row(1, form="program"), a_row(1, check=TESTS), a_row(1, check=SAT)]:
        assert needs_sandbox(a_file(tmp_path, a_row(3), row).prompts)


async def test_programs_run_in_the_real_sandbox(tmp_path: Path) -> None:
    file = a_file(tmp_path, a_row(42, form="program"))
    async with grader(file, BubblewrapConfig(), time.monotonic) as judge:
        text = fenced("import os\nprint(6 * 7 + len(os.environ.get('HOME', '')) * 0)")
        assert await judge.grade(file.prompts[0], text, cut=False) == Grade(True, "42")
        net = fenced("import socket\nsocket.socket()\nprint(42)")
        assert await judge.grade(file.prompts[0], net, cut=False) == Grade(False, None)
