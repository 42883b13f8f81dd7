"""Write the prompts of a bank: what is asked, in which form, and what checks an answer.

    python -m loadtest.bank_prompts --prompts DIR --counts gsm8k=150,svamp=110 --out prompts.jsonl

One JSON object a line, as `entroute bank` reads them. The check of a code prompt is never an
example that the prompt shows, but for P3, whose predicate is the whole task.
"""

import argparse
import gzip
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from entroute.strategies.programs import PROGRAM_LINE
from loadtest import tasks
from loadtest.tasks import assertions, load

FILES: Mapping[str, str] = {
    **{name: file for name, (_, file) in tasks.FILES.items()},
    "svamp": "svamp_test.jsonl.gz",
    "commonsense_qa": "commonsenseqa_dev.jsonl.gz",
}
CODE = {name: task for name, (task, _) in tasks.FILES.items() if task != "gsm8k"}
_CHOICE = '{question}\n\n{choices}\n\nThink briefly and end with "The answer is <letter>."'


def rows_of(folder: Path, name: str, *, count: int, skip: int, seed: int) -> Iterator[Any]:
    """Yield the rows of one benchmark's prompts, in seeded order after skipping some.

    Raises:
        SystemExit: The benchmark is unknown, or holds too few.
    """
    if name not in FILES:
        raise SystemExit(f"{name}: is none of {', '.join(FILES)}")
    if name in CODE:
        for prompt in load(folder / FILES[name], CODE[name], count=count, seed=seed, skip=skip):
            yield _row(prompt.id, name, "code", prompt.message, _code_check(name, prompt.row))
        return
    with gzip.open(folder / FILES[name], "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    if skip + count > len(rows):
        raise SystemExit(f"{name}: holds {len(rows)} prompts, too few for {skip} + {count}")
    random.Random(seed).shuffle(rows)
    for row in rows[skip : skip + count]:
        check = {"kind": "exact", "answer": _plain(row["answer"])}
        if "choices" in row:
            choices = "\n".join(f"{letter}. {text}" for letter, text in row["choices"].items())
            message = _CHOICE.format(question=row["question"], choices=choices)
            yield _row(str(row["id"]), name, "reasoning", message, check)
        else:
            message = tasks.NUMBER_REQUEST.format(question=row["question"])
            yield _row(str(row["id"]), name, "reasoning", message, check)
            yield _row(str(row["id"]), name, "program", f"{message}\n\n{PROGRAM_LINE}", check)


def _plain(answer: Any) -> str:
    """Return an answer as one writes it: 145, not 145.0."""
    return str(int(answer)) if isinstance(answer, float) and answer.is_integer() else str(answer)


def _code_check(name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    if name == "p3":
        source = f"from typing import *\n{row['question']}"
        return {"kind": "program", "source": source, "answer": "code"}
    tests = assertions(dict(row))[1:] if name == "mbpp" else [row["test"]]
    return {"kind": "tests", "tests": tests, "entry_point": row["entry_point"].strip()}


def _row(id_: str, task: str, form: str, message: str, check: Mapping[str, Any]) -> dict[str, Any]:
    messages = [{"role": "user", "content": message}]
    return {"id": id_, "task": task, "form": form, "messages": messages, "check": check}


def main(argv: Sequence[str] | None = None) -> None:
    """Write the file."""
    given = _parser().parse_args(argv)
    skips = {name: int(n) for name, _, n in (part.partition("=") for part in given.skip)}
    count = 0
    with given.out.open("w", encoding="utf-8") as out:
        for part in given.counts.split(","):
            name, _, number = part.partition("=")
            facts = {"count": int(number), "skip": skips.get(name, 0), "seed": given.seed}
            for row in rows_of(given.prompts, name, **facts):
                out.write(json.dumps(row) + "\n")
                count += 1
    print(f"{count} prompts: {given.out}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.bank_prompts", description=__doc__)
    option = parser.add_argument
    option("--prompts", type=Path, required=True, help="folder of the benchmarks' .jsonl.gz files")
    option("--counts", required=True, help=f"task=number,... of {', '.join(FILES)}")
    option("--skip", action="append", default=[], help="task=number: prompts left out first")
    option("--seed", type=int, default=0, help="of the order of prompts")
    option("--out", type=Path, required=True, help=".jsonl")
    return parser


if __name__ == "__main__":
    main()
