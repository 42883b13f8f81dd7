"""What is asked, what a client may judge by, and what grades."""

from pathlib import Path

import pytest

from entroute.strategies.examples import examples_in
from loadtest.grading_cache import Grades
from loadtest.replay_arms import judged_by
from loadtest.tasks import Prompt, assertions, is_right, load, program_of, prompt_of, prompts_of
from tests.loadtest.puzzles import HUMANEVAL, MBPP, P3, fenced, file_of, folder_of, gsm8k

TWICE = prompt_of("mbpp", MBPP)
ROOT = prompt_of("humaneval", HUMANEVAL)
PAIR = prompt_of("p3", P3)


def test_mbpp_shows_its_first_assertion_and_grades_by_the_others() -> None:
    shown, *hidden = assertions(MBPP)
    assert shown == "assert twice(2) == 4"
    assert shown in TWICE.message
    program = program_of(TWICE, fenced("def twice(x):\n    return 2 * x"))
    assert shown not in program
    for assertion in hidden:
        assert assertion not in TWICE.message
        assert assertion in program


def test_the_assertion_that_mbpp_shows_can_be_read_from_the_prompt() -> None:
    examples = examples_in(TWICE.message)
    assert examples.function == "twice"
    assert [example.check for example in examples.examples] == ["_equal(twice(2), 4)"]


@pytest.mark.parametrize(
    ("code", "right"),
    [
        ("def twice(x):\n    return 2 * x", True),
        ("def twice(x):\n    return x + x if x != 2 else 5", True),  # only the shown one fails
        ("def twice(x):\n    return 4", False),  # only the shown one passes
        ("def thrice(x):\n    return 2 * x", False),
    ],
)
def test_mbpp_is_right_where_the_hidden_assertions_pass(code: str, *, right: bool) -> None:
    assert is_right(TWICE, fenced(code)) is right


@pytest.mark.parametrize(
    ("code", "right"),
    [
        ("def solution():\n    return [2, 3]", True),
        ("def solution():\n    return [5]", False),
        ("def sat(x):\n    return True\n\ndef solution():\n    return [5]", False),
        ("def solution():\n    return 5", False),
        ("raise SystemExit(0)", False),
    ],
)
def test_p3_is_graded_by_its_own_predicate(code: str, *, right: bool) -> None:
    assert is_right(PAIR, fenced(code)) is right


def test_a_predicate_that_is_only_nearly_true_does_not_hold() -> None:
    truthy = prompt_of("p3", {"id": "p1", "question": "def sat(x):\n    return x"})
    assert is_right(truthy, fenced("def solution():\n    return True"))
    assert not is_right(truthy, fenced("def solution():\n    return 1"))


def test_humaneval_goes_on_with_its_stub_and_has_its_imports() -> None:
    assert is_right(ROOT, fenced("    return math.sqrt(x)"))
    assert is_right(ROOT, fenced("def root(x):\n    return math.sqrt(x)"))
    assert not is_right(ROOT, fenced("def root(x):\n    return 2.0"))


def test_a_request_names_everything_that_its_answer_needs() -> None:
    assert "What is 7?" in prompt_of("gsm8k", gsm8k(7)).message
    assert P3["question"] in PAIR.message
    assert "solution()" in PAIR.message
    assert HUMANEVAL["question"] in ROOT.message
    assert "check(" not in ROOT.message


def test_rows_that_cannot_be_shown_and_graded_are_left_out(tmp_path: Path) -> None:
    two = {**MBPP, "id": "m1", "test": "def check(f):\n    assert f(1)\n    assert f(2)"}
    path = file_of(tmp_path / "mbpp.jsonl.gz", [two, MBPP])
    assert [prompt.id for prompt in load(path, "mbpp", count=1, seed=0)] == ["m0"]
    with pytest.raises(ValueError, match="holds 1 rows"):
        load(path, "mbpp", count=2, seed=0)
    long = {**P3, "id": "p1", "question": P3["question"] + "  # " + "x" * 500}
    path = file_of(tmp_path / "p3.jsonl.gz", [long, P3])
    assert [prompt.id for prompt in load(path, "p3", count=1, seed=0)] == ["p0"]


def test_a_test_that_is_no_function_is_named() -> None:
    with pytest.raises(TypeError, match="m9"):
        assertions({"id": "m9", "test": "assert True"})


def test_a_client_judges_by_what_its_prompt_shows() -> None:
    assert judged_by(TWICE, ["assert twice(2) == 4"]) == {
        "kind": "tests",
        "tests": ["assert twice(2) == 4"],
        "entry_point": "twice",
    }
    assert judged_by(TWICE, []) is None
    assert judged_by(prompt_of("gsm8k", gsm8k(7)), ["assert True"]) is None
    puzzle = judged_by(PAIR, [])
    assert puzzle is not None
    assert P3["question"] in puzzle["source"]


def test_a_grade_is_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "grades.json"
    grades = Grades(path)
    assert grades.right(prompt_of("gsm8k", gsm8k(7)), "The answer is 7.")
    assert not grades.right(prompt_of("gsm8k", gsm8k(7)), "The answer is 8.")
    grades.save()
    # Of the same id with another answer: what was kept answers, nothing is graded again.
    other = Prompt("g7", "gsm8k", "", {"answer": "8"})
    assert Grades(path).right(other, "The answer is 7.")
    assert Grades(path).right(other, "That makes 8.")


def test_an_unknown_task_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="chess: is none of gsm8k"):
        prompts_of(folder_of(tmp_path, 1), "gsm8k=1,chess=2", 0)


def test_prompts_of_several_tasks_come_together(tmp_path: Path) -> None:
    prompts = prompts_of(folder_of(tmp_path, 3), "gsm8k=2,humaneval=1,mbpp=1,p3=1", 0)
    assert [prompt.task for prompt in prompts] == ["gsm8k", "gsm8k", "humaneval", "mbpp", "p3"]
