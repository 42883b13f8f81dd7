import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from entroute.errors import ConfigurationError
from entroute.evaluation.answer_samples import Selection, read_answer_samples
from entroute.evaluation.bank import BankHeader, Sample, write_bank

CLUSTERED = {
    "id": "sample_0",
    "task": "output",
    "model": "able",
    "cot": True,
    "T": 0.8,
    "n": 4,
    "clusters": [0, 1, 0, 2],
    "correct": [1, 0, 1, 0],
    "answers": ["[1]", "[2]", ""],
}
DATED = {
    "id": "date-0",
    "dataset": "date",
    "model": "GPT3",
    "config": "date_cot1_t=0.4",
    "prompt_style": "cot",
    "n": 3,
    "n_generated": 4,
    "aligned": False,
    "answers": ["05/01/2021", None],
    "clusters": [0, 1, 0],
    "correct": [1, 0, 1],
    "out_tokens": [46, 34, 61, 47],
}


def written(path: Path, *rows: dict[str, Any]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


@pytest.mark.parametrize("name", ["samples.jsonl", "samples.jsonl.gz"])
def test_rows_of_both_sets_are_read(tmp_path: Path, name: str) -> None:
    first, second = read_answer_samples([written(tmp_path / name, CLUSTERED, DATED)])
    assert (first.prompt, first.task, first.model) == ("sample_0", "output", "able")
    assert first.configuration == "cot T=0.8"
    assert first.answers == (0, 1, 0, None)
    assert first.correct == (True, False, True, False)
    assert (second.task, second.configuration) == ("date", "date_cot1_t=0.4 cot")
    assert second.answers == (0, None, 0)
    assert second.labels == ("05/01/2021", None, "05/01/2021")


def test_an_unparsable_sample_is_null_or_below_zero_or_empty(tmp_path: Path) -> None:
    rows = (
        {"clusters": [None, -1, 0], "correct": [0, 0, 1]},
        {"answers": [None, " ", "7"], "correct": [0, 0, 1]},
    )
    for row in read_answer_samples([written(tmp_path / "a.jsonl", *rows)]):
        assert row.answers == (None, None, 0)


def test_answers_without_classes_are_told_apart_by_equality(tmp_path: Path) -> None:
    row = {
        "answers": ["a", "b", "a", 1, 1.5, {"x": 1, "y": 2}, {"y": 2, "x": 1}],
        "correct": [0] * 7,
    }
    (read,) = read_answer_samples([written(tmp_path / "a.jsonl", row)])
    assert read.answers == (0, 1, 0, 2, 3, 4, 4)
    assert (read.prompt, read.model) == ("line 1", "")
    assert read.labels[0] == read.labels[2] != read.labels[1]


def test_one_sample_is_a_row_too(tmp_path: Path) -> None:
    (row,) = read_answer_samples(
        [written(tmp_path / "a.jsonl", {"id": "q", "clusters": [0], "correct": [1]})]
    )
    assert (row.answers, row.correct, row.labels) == ((0,), (True,), ("class 0",))


def test_files_follow_each_other_and_empty_lines_do_not_count(tmp_path: Path) -> None:
    one = written(tmp_path / "a.jsonl", CLUSTERED)
    one.write_text(one.read_text() + "\n\n")
    two = written(tmp_path / "b.jsonl.gz", DATED)
    assert [row.prompt for row in read_answer_samples([one, two])] == ["sample_0", "date-0"]


@pytest.mark.parametrize(
    ("selection", "prompts"),
    [
        (Selection(models=("GPT3",)), ["date-0"]),
        (Selection(tasks=("output",)), ["sample_0"]),
        (Selection(configurations=("T=0.8", "none")), ["sample_0"]),
        (Selection(least=4), ["sample_0"]),
        (Selection(), ["sample_0", "date-0"]),
    ],
)
def test_only_wanted_rows_are_kept(
    tmp_path: Path, selection: Selection, prompts: list[str]
) -> None:
    path = written(tmp_path / "a.jsonl", CLUSTERED, DATED)
    assert [row.prompt for row in read_answer_samples([path], selection)] == prompts


def test_a_selection_that_leaves_nothing_names_what_there_is(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", CLUSTERED, DATED)
    with pytest.raises(ConfigurationError, match="models GPT3, able and tasks date, output"):
        read_answer_samples([path], Selection(models=("gpt3",)))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("not json", "line 2 is no JSON"),
        ('{"clusters": [0, 0], "corr', "line 2 is no JSON"),
        ("[1, 2]", "line 2: give an object"),
        ('{"correct": [1]}', "line 2: neither `clusters` nor `answers`"),
        ('{"answers": [], "correct": []}', "line 2: neither `clusters` nor `answers`"),
        ('{"clusters": [], "correct": []}', "line 2: `clusters` is to be a list"),
        ('{"clusters": ["0"], "correct": [1]}', "line 2: `clusters` has '0'"),
        ('{"clusters": [true], "correct": [1]}', "line 2: `clusters` has True"),
        ('{"clusters": [0, 1], "correct": [1]}', "line 2: 2 answers but 1 in `correct`"),
        ('{"clusters": [0, 1], "correct": [1, 2]}', "line 2: `correct` has 2; give 0 or 1"),
        ('{"clusters": [0], "correct": [null]}', "line 2: `correct` has None"),
        ('{"clusters": [0], "correct": [0.5]}', "line 2: `correct` has 0.5"),
        ('{"answers": ["a"]}', "line 2: `correct` is to be a list"),
    ],
)
def test_a_line_that_is_no_row_is_named(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_text(json.dumps(CLUSTERED) + "\n" + line + "\n")
    with pytest.raises(ConfigurationError, match=words) as caught:
        read_answer_samples([path])
    assert str(path) in str(caught.value)


def test_a_file_cut_off_in_its_compression_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl.gz", *[CLUSTERED | {"id": f"q{i}"} for i in range(500)])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ConfigurationError, match=r"a\.jsonl\.gz: after line \d+: cut off"):
        read_answer_samples([path])


def test_a_plain_file_named_as_compressed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_text(json.dumps(CLUSTERED))
    with pytest.raises(ConfigurationError, match="no gzip file"):
        read_answer_samples([path])


def test_an_absent_and_an_empty_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_answer_samples([tmp_path / "absent.jsonl"])
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    with pytest.raises(ConfigurationError, match="no rows"):
        read_answer_samples([empty])


def test_a_bank_is_rows_of_answers_too(tmp_path: Path) -> None:
    header = BankHeader({"small": "m"}, "fake", 0.7, 320, 4, "p", "c")
    path = tmp_path / "bank.jsonl.gz"
    plain = Sample(
        "q", "t", "reasoning", "small", 0, "", "", "stop", 5, 0.1, right=True, answer="4"
    )
    others = [
        replace(plain, index=1, answer="5", right=False),
        replace(plain, index=2, answer=None, right=False),
        replace(plain, index=3, right=None),  # nothing could judge it
        replace(plain, index=4, extra=True),  # drawn because earlier ones were wrong
    ]
    write_bank(path, header, [plain, *others])
    (row,) = read_answer_samples([path])
    assert (row.prompt, row.model, row.configuration) == ("q", "small", "reasoning")
    assert row.answers == (0, 1, None)
    assert row.correct == (True, False, False)
