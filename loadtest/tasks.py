"""Checkable prompts: what is asked, what the client may judge by, and whether an answer is right.

Rows are JSON objects: `id`, `task`, `question`, and `answer` (gsm8k) or `entry_point` and `test`
(humaneval, mbpp); p3's question is the predicate itself. What the client judges by is never what
grades: MBPP's first assertion is in the prompt, the others grade. It knows nothing about gateways.
"""

import ast
import gzip
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from entroute import answers
from loadtest.grading import Limits, code_of, passes

Task = Literal["gsm8k", "humaneval", "mbpp", "p3"]
_CODE_REQUEST = (
    "Complete this Python function. Answer with one Python code block that holds the whole "
    "function and the imports it needs.\n\n```python\n{question}```"
)
_SHOT = (
    "```python\ndef sat(s: str, n=3):\n    return s == 'ab' * n\n```\n\n"
    "For this predicate the answer is:\n\n"
    "```python\ndef solution():\n    return 'ab' * 3\n```\n\n"
)
_PUZZLE_REQUEST = (
    f"{_SHOT}"
    "Now this predicate:\n\n```python\n{question}\n```\n\nAnswer with one Python code block "
    "that defines `solution()`, so that `sat(solution())` is True."
)
NUMBER_REQUEST = '{question}\n\nReason step by step and end with "The answer is <number>."'


FILES: dict[str, tuple[Task, str]] = {
    "gsm8k": ("gsm8k", "gsm8k_test.jsonl.gz"),
    "humaneval": ("humaneval", "humaneval.jsonl.gz"),
    "mbpp": ("mbpp", "mbpp_sanitized.jsonl.gz"),
    "p3": ("p3", "p3_puzzles.jsonl.gz"),
}
"""Where a benchmark's prompts lie, by the name they are asked for with."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question with what is needed to check its answers."""

    id: str
    task: Task
    message: str
    row: dict[str, Any]


def load(path: Path, task: Task, *, count: int, seed: int, skip: int = 0) -> list[Prompt]:
    """Return `count` prompts of a .jsonl.gz file in seeded order, after skipping some.

    Raises:
        ValueError: the file holds too few rows; the message says how many.
    """
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if _usable(task, row)]
    if skip + count > len(rows):
        raise ValueError(f"{path} holds {len(rows)} rows, too few for {skip} + {count}")
    random.Random(seed).shuffle(rows)
    return [prompt_of(task, row) for row in rows[skip : skip + count]]


def prompts_of(folder: Path, counts: str, seed: int) -> list[Prompt]:
    """Return the prompts that `task=count,...` names, in seeded order.

    Raises:
        SystemExit: A task is unknown.
    """
    prompts: list[Prompt] = []
    for part in counts.split(","):
        name, _, count = part.partition("=")
        if name not in FILES:
            raise SystemExit(f"{name}: is none of {', '.join(FILES)}")
        task, file = FILES[name]
        prompts += load(folder / file, task, count=int(count), seed=seed)
    return prompts


def _usable(task: Task, row: dict[str, Any]) -> bool:
    """Tell whether a row fits: MBPP with two assertions left to grade by, P3 that is short."""
    if task == "mbpp":
        return len(assertions(row)) >= 3
    return task != "p3" or len(row["question"]) < 500


def prompt_of(task: Task, row: dict[str, Any]) -> Prompt:
    """Return what is asked of one row."""
    question = row["question"]
    match task:
        case "gsm8k":
            message = NUMBER_REQUEST.format(question=question)
        case "humaneval":
            message = _CODE_REQUEST.format(question=question)
        case "mbpp":
            head, tail = question.rsplit("'''", 1)
            shown = f"{head.rstrip()}\n    Example: {assertions(row)[0]}\n    '''{tail}"
            message = _CODE_REQUEST.format(question=shown)
        case "p3":
            message = _PUZZLE_REQUEST.format(question=question)
    return Prompt(str(row["id"]), task, message, row)


def assertions(row: dict[str, Any]) -> list[str]:
    """Return the assertions of an MBPP row, on the function's own name."""
    check = ast.parse(row["test"]).body[0]
    if not isinstance(check, ast.FunctionDef):
        raise TypeError(f"{row['id']}: its test is not one function")
    return [ast.unparse(statement) for statement in check.body]


def is_right(prompt: Prompt, answer: str, limits: Limits | None = None) -> bool:
    """Tell whether an answer gives the right number, or code that passes its tests."""
    if prompt.task != "gsm8k":
        return passes(program_of(prompt, answer), limits)
    given = answers.extract(answer, form="number")
    expected = answers.extract(f"The answer is {prompt.row['answer']}.", form="number")
    return given is not None and expected is not None and given.canonical == expected.canonical


def program_of(prompt: Prompt, answer: str) -> str:
    """Return the program that checks the code of an answer.

    It is what came before the function in the question, the code, the tests and their call; code
    without the function continues its stub. MBPP is graded by all assertions but the one shown,
    P3 by its predicate on what `solution()` returns.
    """
    if prompt.task == "p3":
        predicate = f"from typing import *\n{prompt.row['question']}"
        code = code_of(answer, "solution")
        return f"{code}\n\n_found = solution()\n\n{predicate}\n\nassert sat(_found) is True\n"
    if prompt.task == "mbpp":
        code = code_of(answer, str(prompt.row["entry_point"]))
        return "\n\n".join([code, *assertions(prompt.row)[1:]]) + "\n"
    entry, stub = str(prompt.row["entry_point"]), str(prompt.row["question"])
    code = code_of(answer, entry)
    before = stub[: stub.index(f"def {entry}")]
    whole = before + code if f"def {entry}" in code else stub + code
    return f"{whole}\n\n{prompt.row['test']}\n\ncheck({entry})\n"
