"""A small bank through the real gateway, in virtual time: every number is worked out by hand."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from entroute.evaluation.bank import Sample, write_bank
from entroute.evaluation.virtual_time import run_virtually
from entroute.strategies.programs import PROGRAM_LINE
from loadtest.grading_cache import Grades
from loadtest.replay import Replay, main, replayed
from loadtest.replay_arms import ARMS
from loadtest.tasks import Prompt, prompt_of
from tests.fakes import FakeSandbox, executed
from tests.loadtest.banks import HEADER, UNSURE, drawn, number, sample
from tests.loadtest.puzzles import HUMANEVAL, MBPP, P3, fenced, folder_of, sums

Row = dict[str, Any]
TWICE = prompt_of("mbpp", MBPP)
RIGHT, WRONG = "def twice(x):\n    return 2 * x", "def twice(x):\n    return x"


def rows_of(
    samples: Sequence[Sample],
    prompts: Sequence[Prompt],
    *arms: str,
    repeats: int = 1,
    seed: int = 0,
) -> list[Row]:
    """Replay, programs run here and now, and return the rows with whether they are right."""
    grades = Grades(Path("nowhere"))
    replay = Replay(samples, prompts, arms, repeats, seed)
    rows = run_virtually(replayed(replay, FakeSandbox(executed), grades))
    by_id = {prompt.id: prompt for prompt in prompts}
    return [{**row, "right": grades.right(by_id[row["prompt"]], row["text"])} for row in rows]


def row_of(samples: Sequence[Sample], prompt: Prompt, arm: str) -> Row:
    (row,) = rows_of(samples, [prompt], arm)
    return row


def test_a_single_sample_costs_what_it_was_recorded_with() -> None:
    prompts = sums(2)
    samples = drawn(prompts[0], number(0), tokens=20) + drawn(prompts[1], number(9))
    samples += drawn(prompts[0], number(0), tier="large") + drawn(
        prompts[1], number(1), tier="large"
    )
    rows = rows_of(samples, prompts, "single small", "single large")
    assert [(row["arm"], row["prompt"], row["right"]) for row in rows] == [
        ("single small", "g0", True),
        ("single large", "g0", True),
        ("single small", "g1", False),
        ("single large", "g1", True),
    ]
    small, large = rows[0], rows[1]
    assert (small["calls"], small["tokens"]) == (1, {"small answer": 20})
    assert (small["latency_s"], small["prompt_tokens"]) == (20.0, 10)
    assert small["usd"] == pytest.approx((10 * 0.05 + 20 * 0.10) / 1e6)
    assert (large["tier"], large["tokens"]) == ("large", {"large answer": 8})
    assert large["usd"] == pytest.approx((10 * 0.30 + 8 * 0.60) / 1e6)


def test_a_vote_pays_for_its_samples_and_cancels_the_one_that_cannot_matter() -> None:
    (prompt,) = sums(1)
    quick = [sample(prompt, number(0), tokens) for tokens in (8, 9, 10)]
    slow = sample(prompt, number(7), 100)
    row = row_of([*quick, slow], prompt, "self_consistency 4")
    assert (row["right"], row["calls"], row["stop"]) == (True, 4, "settled")
    # Three of four agree after 10 s; of the fourth the first piece of 8 tokens had come by then.
    assert row["latency_s"] == 10.0
    assert sum(row["tokens"].values()) == 8 + 9 + 10 + 8
    assert row["tokens"]["small discarded"] == 8
    assert row["saved"] == {"cancelled": 1}


def test_a_majority_is_right_where_most_samples_are() -> None:
    prompts = sums(2)
    samples = drawn(prompts[0], *[number(0)] * 3, number(5))
    samples += drawn(prompts[1], *[number(5)] * 3, number(1))
    rows = rows_of(samples, prompts, "single small", "self_consistency 4", repeats=40, seed=1)
    vote = [row for row in rows if row["arm"] == "self_consistency 4"]
    assert all(row["right"] == (row["prompt"] == "g0") for row in vote)
    assert {row["calls"] for row in vote} == {4}
    for prompt, share in (("g0", 0.75), ("g1", 0.25)):
        single = [r["right"] for r in rows if (r["arm"], r["prompt"]) == ("single small", prompt)]
        assert sum(single) / len(single) == pytest.approx(share, abs=0.2)


def test_a_settled_vote_stops_before_all_samples_are_drawn() -> None:
    (prompt,) = sums(1)
    row = row_of(drawn(prompt, *[number(0)] * 16), prompt, "adaptive_consistency")
    assert row["right"]
    assert row["calls"] < 16
    assert sum(row["tokens"].values()) == 8 * row["calls"]


def test_a_cascade_goes_up_where_the_small_tier_is_unsure() -> None:
    prompts = sums(2)
    samples = drawn(prompts[0], number(0)) + drawn(prompts[1], number(9), top=UNSURE)
    samples += drawn(prompts[0], number(0), tier="large") + drawn(
        prompts[1], number(1), tier="large"
    )
    sure, unsure = rows_of(samples, prompts, "cascade")
    assert (sure["tokens"], sure["tier"]) == ({"small answer": 8}, "small")
    assert (unsure["tier"], unsure["stop"], unsure["right"]) == ("large", "escalated", True)
    assert unsure["calls"] == 2
    assert unsure["tokens"] == {"small discarded": 8, "large answer": 8}
    assert unsure["latency_s"] == 16.0


def test_a_program_is_asked_for_in_the_form_that_was_recorded() -> None:
    (prompt,) = sums(1)
    message = f"{prompt.message}\n\n{PROGRAM_LINE}"
    program = sample(prompt, fenced("print(3 - 3)"), 16, form="program", message=message)
    row = row_of([program], prompt, "program_first")
    assert (row["text"], row["right"], row["failures"]) == ("The answer is 0.", True, 0)
    assert (row["calls"], row["tokens"]) == (1, {"small answer": 16})


def test_reasoning_and_a_program_that_agree_are_two_calls() -> None:
    (prompt,) = sums(1)
    message = f"{prompt.message}\n\n{PROGRAM_LINE}"
    program = sample(prompt, fenced("print(0)"), 16, form="program", message=message)
    row = row_of([program, *drawn(prompt, number(0), number(0))], prompt, "cot_pot")
    assert (row["calls"], row["stop"], row["right"]) == (2, "verified", True)
    assert sum(row["tokens"].values()) == 24


def test_the_shown_example_rejects_and_the_hidden_ones_grade() -> None:
    only_shown = "def twice(x):\n    return 4"
    samples = drawn(TWICE, *[fenced(WRONG)] * 8)
    samples += drawn(TWICE, fenced(only_shown), tier="large")
    row = row_of(samples, TWICE, "rejection")
    assert (row["calls"], row["tier"], row["stop"]) == (9, "large", "verified")
    assert row["tokens"] == {"small sample": 64, "large answer": 8}
    assert not row["right"]


def test_examples_of_the_prompt_verify_before_a_larger_tier_is_asked() -> None:
    samples = drawn(TWICE, fenced(WRONG), fenced(WRONG)) + drawn(TWICE, fenced(RIGHT), tier="large")
    row = row_of(samples, TWICE, "verify_then_escalate")
    assert (row["calls"], row["tier"], row["right"]) == (3, "large", True)
    assert row["tokens"] == {"small sample": 16, "large answer": 8}


def test_a_puzzle_judges_its_own_answers() -> None:
    puzzle = prompt_of("p3", P3)
    bad, good = (fenced(f"def solution():\n    return {value}") for value in ("[5]", "[2, 3]"))
    row = row_of(drawn(puzzle, good, bad, bad, bad), puzzle, "rejection by the task")
    assert (row["stop"], row["right"]) == ("verified", True)
    assert 1 <= row["calls"] <= 7


def test_a_prompt_without_examples_is_answered_plainly_where_a_client_would_judge() -> None:
    bare = prompt_of("humaneval", HUMANEVAL | {"question": "def root(x):\n    pass\n"})
    row = row_of(drawn(bare, fenced("def root(x):\n    return x ** 0.5")), bare, "rejection")
    assert (row["calls"], row["tokens"]) == (1, {"small answer": 8})


def test_samples_that_the_bank_does_not_hold_are_counted() -> None:
    (prompt,) = sums(1)
    row = row_of(drawn(prompt, number(0)), prompt, "self_consistency 4")
    assert (row["right"], row["calls"], row["failures"]) == (True, 1, 3)


MIXED = [
    drawn(prompt, *(number(i) for i in range(6)), tokens=8) for prompt in sums(4)
]  # of g0's six samples the first is right, of g1's the second, ...
FLAT = [one for some in MIXED for one in some]
SEEDED = ("single small", "self_consistency 4", "esc", "adaptive_consistency")


def test_a_seed_gives_the_same_rows_again_and_another_gives_others() -> None:
    first = rows_of(FLAT, sums(4), *SEEDED, repeats=3)
    assert first == rows_of(FLAT, sums(4), *SEEDED, repeats=3)
    assert first != rows_of(FLAT, sums(4), *SEEDED, repeats=3, seed=1)


def test_an_arm_does_not_depend_on_the_others_and_repeats_differ() -> None:
    every = rows_of(FLAT, sums(4), *SEEDED, repeats=3)
    alone = rows_of(FLAT, sums(4), "single small", repeats=3)
    assert alone == [row for row in every if row["arm"] == "single small"]
    assert len({row["text"] for row in alone if row["prompt"] == "g0"}) > 1


def test_an_arm_serves_only_its_tasks() -> None:
    rows = rows_of(drawn(TWICE, fenced(RIGHT)), [TWICE], "esc", "single small")
    assert [row["arm"] for row in rows] == ["single small"]


def test_the_command_replays_with_the_real_sandbox_and_keeps_its_grades(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, bank = folder_of(tmp_path, 2), tmp_path / "small.jsonl.gz"
    write_bank(
        bank,
        HEADER,
        [s for p in sums(2) for s in drawn(p, number(0))] + drawn(TWICE, fenced(RIGHT)),
    )
    out = tmp_path / "rows.jsonl"
    line = f"--bank {bank} --prompts {folder} --counts gsm8k=2,mbpp=1 --repeats 2 --out {out}"
    main([*line.split(), "--arms", "single small, rejection"])
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    right = {(row["arm"], row["prompt"]): row["right"] for row in rows}
    assert right == {
        ("single small", "g0"): True,
        ("single small", "g1"): False,
        ("single small", "m0"): True,
        ("rejection", "m0"): True,
    }
    assert len(rows) == 8
    assert all("text" not in row for row in rows)
    assert len(json.loads(out.with_suffix(".grades.json").read_text())) == 3
    assert "8 rows" in capsys.readouterr().out


def test_a_pace_takes_the_place_of_what_was_recorded(tmp_path: Path) -> None:
    folder, bank = folder_of(tmp_path, 1), tmp_path / "small.jsonl"
    write_bank(bank, HEADER, drawn(sums(1)[0], number(0), tokens=20))
    out = tmp_path / "rows.jsonl"
    line = f"--bank {bank} --prompts {folder} --counts gsm8k=1 --repeats 1 --out {out}"
    main([*line.split(), "--arms", "single small", "--pace", "small=.5,large=2"])
    (row,) = map(json.loads, out.read_text().splitlines())
    assert row["latency_s"] == 10.0


def test_every_arm_can_be_named_on_the_command_line() -> None:
    assert [name for name in ARMS if "," in name or name != name.strip()] == []


def test_an_unknown_arm_is_named(tmp_path: Path) -> None:
    folder, bank = folder_of(tmp_path, 1), tmp_path / "bank.jsonl"
    write_bank(bank, HEADER, [])
    line = f"--bank {bank} --prompts {folder} --counts gsm8k=1 --out {tmp_path / 'out'}"
    with pytest.raises(SystemExit, match="guess is none of single small"):
        main([*line.split(), "--arms", "guess"])


def test_every_arm_can_be_replayed() -> None:
    prompts = [*sums(1), TWICE, prompt_of("humaneval", HUMANEVAL), prompt_of("p3", P3)]
    programs = {
        "g0": number(0),
        "m0": fenced(RIGHT),
        "h0": fenced("def root(x):\n    return math.sqrt(x)"),
        "p0": fenced("def solution():\n    return [2, 3]"),
    }
    samples = [
        s
        for prompt in prompts
        for tier in ("small", "large")
        for s in drawn(prompt, *[programs[prompt.id]] * 16, tier=tier)
    ]
    message = f"{prompts[0].message}\n\n{PROGRAM_LINE}"
    samples += drawn(prompts[0], *[fenced("print(0)")] * 5, form="program", message=message)
    rows = rows_of(samples, prompts, *ARMS)
    assert {row["arm"] for row in rows} == set(ARMS)
    assert [row for row in rows if not row["right"] or row["failures"]] == []
