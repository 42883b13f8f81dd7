"""The table and the paired differences of rows made by hand."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from loadtest.replay_report import by_prompt, differences, main, markdown, paces, table

Row = dict[str, Any]
PACE = {"small": 0.01, "large": 0.1}


def row(arm: str, prompt: str, *, right: bool, **more: Any) -> Row:
    made = {"arm": arm, "prompt": prompt, "task": "gsm8k", "repeat": 0, "right": right}
    spent = {"calls": 1, "tokens": {"small answer": 10}, "latency_s": 1.0, "usd": 0.001}
    return {**made, **spent, **more}


def rng() -> random.Random:
    return random.Random(0)  # noqa: S311 - a test repeats itself


ROWS = [
    row("a", "p0", right=True),
    row("a", "p0", right=True),
    row("a", "p1", right=True, latency_s=3.0),
    row("a", "p1", right=False, calls=3, tokens={"small sample": 20, "small discarded": 2}),
    row("b", "p0", right=False, tokens={"small discarded": 6, "large answer": 30}, calls=2),
    row("b", "p1", right=False, tokens={"large answer": 10}, usd=0.003),
]


def test_an_arms_line_is_means_over_prompts_of_means_over_repeats() -> None:
    first, second = table(ROWS, PACE, rng())
    assert (first["task"], first["arm"], first["n"]) == ("gsm8k", "a", 2)
    assert first["accuracy"] == 0.75
    assert (first["low"], first["high"]) == (0.5, 1.0)
    assert first["calls"] == 1.5
    assert first["tokens small"] == (10 + 10 + 10 + 22) / 4
    assert first["tokens large"] == 0
    assert first["discarded"] == 0.5
    assert first["worker s"] == pytest.approx(0.13)
    assert first["usd/1000"] == pytest.approx(1.0)
    assert (first["p50 s"], first["p95 s"]) == (1.0, pytest.approx(2.7))
    assert (second["tokens small"], second["tokens large"]) == (3.0, 20.0)
    assert second["worker s"] == pytest.approx(0.03 + 2.0)
    assert second["usd/1000"] == pytest.approx(2.0)


def test_prompts_count_alike_however_often_they_were_repeated() -> None:
    rows = [row("a", "p0", right=True)] * 9 + [row("a", "p1", right=False)]
    assert by_prompt(rows) == {"p0": 1.0, "p1": 0.0}
    (line,) = table(rows, PACE, rng())
    assert line["accuracy"] == 0.5


def test_tasks_have_lines_of_their_own() -> None:
    rows = [row("a", "p0", right=True), row("a", "m0", right=False, task="mbpp")]
    assert [(line["task"], line["accuracy"]) for line in table(rows, PACE, rng())] == [
        ("gsm8k", 1.0),
        ("mbpp", 0.0),
    ]


def test_differences_are_paired_by_prompt() -> None:
    (line,) = differences(ROWS, "b", rng())
    assert (line["arm"], line["minus"], line["n"]) == ("a", "b", 2)
    assert line["difference"] == 0.75
    assert (line["low"], line["high"]) == (0.5, 1.0)
    (back,) = differences(ROWS, "a", rng())
    assert back["difference"] == -0.75


def test_prompts_of_one_arm_alone_are_not_compared() -> None:
    rows = [*ROWS, row("b", "p2", right=True), row("c", "m0", right=True, task="mbpp")]
    assert [(line["arm"], line["difference"]) for line in differences(rows, "b", rng())] == [
        ("a", 0.75)
    ]


def test_an_arm_that_is_better_everywhere_has_an_interval_above_zero() -> None:
    rows = [row("a", str(n), right=n % 10 > 0) for n in range(50)]
    rows += [row("b", str(n), right=n % 10 > 4) for n in range(50)]
    (line,) = differences(rows, "b", rng())
    assert line["difference"] == pytest.approx(0.4)
    assert 0 < line["low"] < 0.4 < line["high"] < 1


def test_a_table_is_written_as_markdown() -> None:
    lines = [{"arm": "a", "n": 2, "accuracy": 0.75, "tokens": 123.4}]
    assert markdown(lines) == (
        "| arm | n | accuracy | tokens |\n| --- | --- | --- | --- |\n| a | 2 | 0.750 | 123 |"
    )


def test_the_command_prints_both_tables_and_writes_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    one.write_text("".join(json.dumps(made) + "\n" for made in ROWS[:4]))
    two.write_text("".join(json.dumps(made) + "\n" for made in ROWS[4:]))
    main([str(one), str(two), "--seconds-per-token", "small=.01,large=.1", "--base", "b"])
    printed = capsys.readouterr().out
    assert "replayed" in printed
    assert "paired differences" in printed
    written = (tmp_path / "one.md").read_text()
    lines = table(ROWS, PACE, source := rng())
    assert written == f"{markdown(lines)}\n\n{markdown(differences(ROWS, 'b', source))}\n"


def test_the_command_needs_no_base(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(made) + "\n" for made in ROWS))
    main([str(path), "--seconds-per-token", "small=.01,large=.1"])
    assert path.with_suffix(".md").read_text() == f"{markdown(table(ROWS, PACE, rng()))}\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [("small=.01", "large=SECONDS"), ("small=.01,large=fast", "fast"), ("small", "could not")],
)
def test_a_pace_that_is_missing_or_no_number_is_named(text: str, words: str) -> None:
    with pytest.raises(SystemExit, match=words):
        paces(text)
