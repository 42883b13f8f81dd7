"""The quality run asks, grades, keeps and goes on where it stopped."""

import asyncio
import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from loadtest import quality_summary as summary
from loadtest.asking_gateway import Manner
from loadtest.journal import Journal
from loadtest.quality import main
from loadtest.quality_run import Run, run_quality
from loadtest.spawn import fake_worker
from loadtest.tasks import Prompt, is_right, load

STUB = "import math\n\n\ndef root(x: float) -> float:\n"
CODE = Prompt(
    "h0",
    "humaneval",
    "",
    {
        "question": STUB,
        "entry_point": "root",
        "test": "def check(f):\n    assert f(9) == 3",
    },
)
NUMBER = Prompt("g0", "gsm8k", "", {"answer": "1200"})


def rows_file(path: Path, count: int) -> Path:
    with gzip.open(path, "wt") as file:
        for number in range(count):
            row = {"id": f"q{number}", "question": f"What is {number}?", "answer": str(number)}
            file.write(json.dumps(row) + "\n")
    return path


def row(arm: str, prompt: str, *, right: bool, **more: Any) -> dict[str, Any]:
    given = {"pass": 1, "prompt": prompt, "task": "gsm8k", "arm": arm, "right": right}
    return {**given, "latency_s": 1.0, **more}


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("So 3 * 400.\nThe answer is 1,200.", True),
        ("The answer is $1200.00.", True),
        ("The answer is 120.", False),
        ("I do not know.", False),
    ],
)
def test_numbers_are_compared_by_value(answer, right):
    assert is_right(NUMBER, answer) is right


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("```python\ndef root(x):\n    return math.sqrt(x)\n```", True),
        ("```python\n    return math.sqrt(x)\n```", True),
        ("```python\ndef root(x):\n    return x\n```", False),
        ("", False),
    ],
)
def test_code_is_judged_by_its_tests(answer, right):
    assert is_right(CODE, answer) is right


def test_prompts_come_in_seeded_order_without_overlap(tmp_path):
    path = rows_file(tmp_path / "rows.jsonl.gz", 20)
    first = [prompt.id for prompt in load(path, "gsm8k", count=10, seed=1)]
    rest = [prompt.id for prompt in load(path, "gsm8k", count=10, seed=1, skip=10)]
    assert first == [prompt.id for prompt in load(path, "gsm8k", count=10, seed=1)]
    assert len({*first, *rest}) == 20
    with pytest.raises(ValueError, match="holds 20 rows"):
        load(path, "gsm8k", count=11, seed=1, skip=10)


async def test_a_stopped_run_goes_on_and_counters_are_read(tmp_path):
    prompts = load(rows_file(tmp_path / "rows.jsonl.gz", 3), "gsm8k", count=3, seed=0)
    async with fake_worker(model=["small", "large"], answer="The answer is 1.") as worker:
        manner = Manner(worker.url, 50, "bypass")
        run = Run([manner], prompts, ("small", "large"), 1, 1, {"small": worker.url}, 5)
        journal = Journal(tmp_path / "out.json", {"max_tokens": 50})
        await worker.script(failure={"kind": "status", "status": 503, "times": 1})
        await run_quality(run, journal)
        assert [bool(one.get("error")) for one in journal.rows()] == [True] + [False] * 5
        with (tmp_path / "out.json").open("a") as file:
            file.write('{"pass": 1, "pro')
        again = Journal(tmp_path / "out.json", {"max_tokens": 50})
        await worker.forget()
        await run_quality(run, again)
        received = await worker.requests()
    assert len(received) == 1
    assert received[0]["body"]["temperature"] == 0
    assert received[0]["body"]["entroute"] == {"cache": "bypass", "explain": True}
    assert sum(one["right"] for one in again.rows()) == 2
    assert [one["counted"]["small"]["completion"] for one in again.rows()] == [5] * 6


async def test_the_command_prints_tables_and_keeps_its_summary(tmp_path, capsys):
    rows = rows_file(tmp_path / "rows.jsonl.gz", 4)
    out = tmp_path / "out.json"
    async with fake_worker(model=["small", "large"], answer="The answer is 1.") as worker:
        line = f"--gateway {worker.url} --gsm8k {rows} --n-gsm8k 4 --arms small,large --out {out}"
        await asyncio.to_thread(main, [*line.split(), "--check-counters", worker.url])
    printed = capsys.readouterr().out
    assert "accuracy" in printed
    assert "large - small" in printed
    parts = json.loads((tmp_path / "out.summary.json").read_text())
    assert [one["accuracy"] for one in parts["accuracy (95% Wilson)"]] == [0.25, 0.25]


def test_a_journal_of_other_settings_is_refused(tmp_path):
    Journal(tmp_path / "out.json", {"max_tokens": 50})
    with pytest.raises(ValueError, match="max_tokens"):
        Journal(tmp_path / "out.json", {"max_tokens": 60})


def test_accuracy_and_paired_differences_are_by_arm():
    rows = [row("small", str(n), right=n < 2) for n in range(10)]
    rows += [row("auto", str(n), right=n < 8) for n in range(10)]
    table = summary.accuracies(rows, ["small", "auto"])
    assert [(one["arm"], one["accuracy"]) for one in table] == [("small", 0.2), ("auto", 0.8)]
    (gain,) = summary.differences(rows, ["small", "auto"], random.Random(0))  # noqa: S311
    assert gain["difference"] == "auto - small"
    assert gain["mean"] == pytest.approx(0.6)
    assert gain["low"] < 0.6 < gain["high"]


def test_an_arm_is_compared_with_a_coin_of_the_same_cost():
    def priced(arm: str, cost: float, rights: list[bool]) -> list[dict[str, Any]]:
        made = [row(arm, str(n), right=right) for n, right in enumerate(rights)]
        return [{**one, "usage": {"cost_usd": cost}} for one in made]

    rows = priced("small", 1.0, [False] * 10) + priced("large", 3.0, [True] * 10)
    rows += priced("auto", 2.0, [True] * 8 + [False] * 2)
    arms = ["small", "large", "auto"]
    (only,) = summary.over_mixtures(rows, arms, random.Random(0))  # noqa: S311
    assert only["share"] == pytest.approx(0.5)
    assert only["gain"] == pytest.approx(0.3)
    assert summary.over_mixtures(rows, ["small", "auto"], random.Random(0)) == []  # noqa: S311


def test_counters_leave_out_requests_with_partial_calls():
    part = {"tier": "small", "prompt_tokens": 9, "cached_tokens": 4, "completion_tokens": 5}
    counted = {"small": {"prompt": 5.0, "completion": 5.0}}
    whole = row("auto", "a", right=True, usage={"partial_calls": 0, "by": [part]}, counted=counted)
    cut = row("auto", "b", right=True, usage={"partial_calls": 1, "by": [part]}, counted=counted)
    table = summary.counter_check([whole, cut], ["small"])
    assert [line["difference"] for line in table] == [4, 0, 0]
    assert {line["requests"] for line in table} == {1}


def test_spending_sums_by_tier_and_purpose_and_escalations_are_shares():
    part = {"tier": "small", "purpose": "answer", "completion_tokens": 5, "cost_usd": 0.5}
    usage = {"by": [part], "cost_usd": 0.5, "completion_tokens": 5}
    rows = [
        row("auto", "a", right=True, usage=usage, tier="large", stop_reason="escalated"),
        row("auto", "b", right=True, usage=usage, tier="small", cache="exact"),
    ]
    (spent,) = summary.spending(rows, ["auto"])
    assert (spent["completion_tokens"], spent["cost_usd"]) == (10, 1.0)
    (behaviour,) = summary.behaviours(rows, ["auto"])
    assert (behaviour["on_large"], behaviour["escalated"]) == (0.5, 0.5)
    assert summary.cache_use(rows, ["auto"]) == [
        {"pass": 1, "arm": "auto", "n": 2, "none": 1, "exact": 1}
    ]
