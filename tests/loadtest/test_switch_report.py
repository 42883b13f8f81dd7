import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from loadtest.first_token import EXAMPLES, long_prompts
from loadtest.switch_report import gain, line_of, main, rows_of


def row(
    prompt: str, arm: str, *, right: bool, segments: list[tuple[str, int, int]]
) -> dict[str, Any]:
    parts = [{"tier": t, "tokens": n, "reread_tokens": again} for t, n, again in segments]
    usage = {"completion_tokens": sum(n for _, n, _ in segments), "cost_usd": 0.001}
    tier = segments[-1][0] if segments else "large"
    return {
        "prompt": prompt,
        "arm": arm,
        "right": right,
        "tier": tier,
        "latency_s": 2.0,
        "usage": usage,
        "segments": parts,
    }


SWITCHED = [
    row(
        "a", "switch", right=True, segments=[("small", 60, 0), ("large", 20, 60), ("small", 20, 80)]
    ),
    row("b", "switch", right=True, segments=[("small", 100, 0)]),
]


def test_a_line_holds_share_hand_overs_and_what_was_read_again() -> None:
    line = line_of("ead", {r["prompt"]: r for r in SWITCHED})
    assert (line["n"], line["accuracy"]) == (2, 1.0)
    assert line["large share"] == pytest.approx(20 / 200)
    assert (line["hand-overs"], line["reread"]) == (1.0, 70.0)
    assert line["tokens"] == 100
    assert line["usd/1000"] == pytest.approx(1.0)


def test_an_arm_without_segments_is_all_of_its_tier() -> None:
    line = line_of("large", {"a": row("a", "large", right=True, segments=[])})
    assert (line["large share"], line["hand-overs"]) == (1.0, 0.0)


def test_the_gain_is_paired_by_prompt() -> None:
    switch = {r["prompt"]: r for r in SWITCHED}
    control = {"a": row("a", "random", right=False, segments=[("large", 5, 0)])}
    result = gain(switch, control, random.Random(0))  # noqa: S311
    assert (result["pairs"], result["difference"]) == (1, 1.0)


def test_both_tables_are_printed_and_failures_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def journal(name: str, rows: list[dict[str, Any]]) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))
        return path

    plain = [row("a", arm, right=True, segments=[]) for arm in ("small", "large")]
    base = journal("base.jsonl", plain)
    failed = {**SWITCHED[1], "prompt": "c", "error": "500"}
    switch = journal("ead.jsonl", [*SWITCHED, failed])
    control = journal("rand.jsonl", [{**r, "arm": "random", "right": False} for r in SWITCHED])
    assert set(rows_of(switch, "switch")) == {"a", "b"}
    main(["--base", str(base), "--pair", f"{switch},{control}"])
    printed = capsys.readouterr().out
    assert "| ead | 2 | 1.000 |" in printed
    assert "| ead | rand | 2 | 1.000 |" in printed


def test_long_prompts_never_begin_alike(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    with gzip.open(path, "wt") as file:
        for number in range(400):
            file.write(
                json.dumps({"id": f"q{number}", "question": f"What is {number}?", "answer": "1"})
            )
            file.write("\n")
    prompts = long_prompts(path, 6, seed=1)
    assert len({prompt[:20] for prompt in prompts}) == 6
    assert all(prompt.count("What is") == EXAMPLES for prompt in prompts)
    assert long_prompts(path, 6, seed=1) == prompts
