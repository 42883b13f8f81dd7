"""Checkable prompts: what is asked and whether an answer is right.

Rows are JSON objects: `id`, `task`, `question`, and `answer` (gsm8k) or `entry_point` and `test`
(humaneval). It knows nothing about gateways.
"""

import gzip
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from entroute import answers
from loadtest.grading import Limits, code_of, passes

Task = Literal["gsm8k", "humaneval"]
_CODE_REQUEST = (
    "Complete this Python function. Answer with one Python code block that holds the whole "
    "function and the imports it needs.\n\n```python\n{question}```"
)
_NUMBER_REQUEST = '{question}\n\nReason step by step and end with "The answer is <number>."'


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
        rows = [json.loads(line) for line in lines]
    if skip + count > len(rows):
        raise ValueError(f"{path} holds {len(rows)} rows, too few for {skip} + {count}")
    random.Random(seed).shuffle(rows)
    request = _CODE_REQUEST if task == "humaneval" else _NUMBER_REQUEST
    return [
        Prompt(str(row["id"]), task, request.format(question=row["question"]), row)
        for row in rows[skip : skip + count]
    ]


def is_right(prompt: Prompt, answer: str, limits: Limits | None = None) -> bool:
    """Tell whether an answer gives the right number, or code that passes its tests."""
    if prompt.task == "humaneval":
        return passes(program_of(prompt, answer), limits)
    given = answers.extract(answer, form="number")
    expected = answers.extract(f"The answer is {prompt.row['answer']}.", form="number")
    return given is not None and expected is not None and given.canonical == expected.canonical


def program_of(prompt: Prompt, answer: str) -> str:
    """Return the program that checks the code of an answer.

    It is what came before the function in the question, the code, the tests and their call; code
    without the function continues its stub.
    """
    entry, stub = str(prompt.row["entry_point"]), str(prompt.row["question"])
    code = code_of(answer, entry)
    before = stub[: stub.index(f"def {entry}")]
    whole = before + code if f"def {entry}" in code else stub + code
    return f"{whole}\n\n{prompt.row['test']}\n\ncheck({entry})\n"
