"""Small benchmark rows, one of each task and more of gsm8k, and the files that hold them."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loadtest.tasks import Prompt, prompt_of

MBPP = {
    "id": "m0",
    "question": "def twice(x):\n    '''\n    Double a number.\n    '''\n",
    "entry_point": "twice",
    "test": "def check(candidate):\n    assert twice(2) == 4\n    assert twice(0) == 0\n"
    "    assert twice(3) == 6\n",
}
HUMANEVAL = {
    "id": "h0",
    "question": "import math\n\n\ndef root(x: float) -> float:\n"
    '    """Return the root.\n\n    >>> root(4)\n    2.0\n    """\n',
    "entry_point": "root",
    "test": "def check(f):\n    assert f(9) == 3\n    assert f(4) == 2",
}
P3 = {"id": "p0", "question": "def sat(x: List[int]):\n    return sum(x) == 5 and len(x) == 2"}


def gsm8k(number: int) -> dict[str, Any]:
    """Return a question whose answer is its number."""
    return {"id": f"g{number}", "question": f"What is {number}?", "answer": str(number)}


def sums(count: int) -> list[Prompt]:
    """Return so many gsm8k prompts."""
    return [prompt_of("gsm8k", gsm8k(number)) for number in range(count)]


def fenced(code: str) -> str:
    """Return code as models answer it."""
    return f"Here it is:\n```python\n{code}\n```\n"


def file_of(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Write rows as the benchmarks' files hold them."""
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def folder_of(path: Path, questions: int) -> Path:
    """Write a folder of all four benchmarks: so many gsm8k questions, one of each other."""
    file_of(path / "gsm8k_test.jsonl.gz", [gsm8k(number) for number in range(questions)])
    file_of(path / "humaneval.jsonl.gz", [HUMANEVAL])
    file_of(path / "mbpp_sanitized.jsonl.gz", [MBPP])
    file_of(path / "p3_puzzles.jsonl.gz", [P3])
    return path
