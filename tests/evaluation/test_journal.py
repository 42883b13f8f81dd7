"""What is recorded survives whatever ends the recording."""

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from entroute.errors import ConfigurationError
from entroute.evaluation.bank import read_bank, row_of, write_bank
from entroute.evaluation.grading import Grade
from entroute.evaluation.journal import header_at, opened_journal
from entroute.evaluation.samples import BankHeader
from tests.evaluation.recorded import HEADER, SAMPLE, some


def say(sentences: list[str]) -> Any:
    return sentences.append


def test_rows_are_in_the_bank_once_it_is_finished_and_the_journal_is_gone(tmp_path: Path) -> None:
    out = tmp_path / "bank.jsonl.gz"
    with opened_journal(out, HEADER, print) as journal:
        for sample in some(3):
            journal.add(sample)
        assert list(journal) == some(3)
        assert not out.exists()
        assert journal.finish({SAMPLE.key: Grade(True, "4")}) == 3
    graded = [replace(s, right=True, answer="4") if s == SAMPLE else s for s in some(3)]
    assert list(read_bank(out)) == graded
    assert [path.name for path in tmp_path.iterdir()] == ["bank.jsonl.gz"]


def test_a_recording_goes_on_where_an_earlier_one_was_stopped(tmp_path: Path) -> None:
    out, said = tmp_path / "bank.jsonl.gz", list[str]()
    write_bank(out, HEADER, some(2))
    with opened_journal(out, HEADER, say(said)) as journal:
        journal.add(replace(SAMPLE, index=2))
    with opened_journal(out, HEADER, say(said)) as journal:
        assert [sample.index for sample in journal] == [0, 1, 2]
        journal.add(replace(SAMPLE, index=3))
        journal.finish({})
    assert [sample.index for sample in read_bank(out)] == [0, 1, 2, 3]
    assert said == []


def test_a_row_that_was_cut_off_is_dropped_and_said_so(tmp_path: Path) -> None:
    out, said = tmp_path / "bank.jsonl.gz", list[str]()
    with opened_journal(out, HEADER, say(said)) as journal:
        journal.add(SAMPLE)
    path = tmp_path / "bank.jsonl.gz.journal"
    path.write_bytes(path.read_bytes() + row_of(replace(SAMPLE, index=9))[:-1])
    with opened_journal(out, HEADER, say(said)) as journal:
        assert list(journal) == [SAMPLE]
        journal.add(replace(SAMPLE, index=4))
        assert [sample.index for sample in journal] == [3, 4]
    assert said == [f"{path}: dropped its last row, which was cut off in mid-write"]


def test_a_header_that_was_cut_off_is_written_again(tmp_path: Path) -> None:
    out, said = tmp_path / "bank.jsonl", list[str]()
    (tmp_path / "bank.jsonl.journal").write_bytes(b'{"schema": "entr')
    assert header_at(out) is None
    with opened_journal(out, HEADER, say(said)) as journal:
        journal.add(SAMPLE)
        journal.finish({})
    assert list(read_bank(out)) == [SAMPLE]
    assert len(said) == 1


@pytest.mark.parametrize("cut", [1, 9, 40])
def test_a_compressed_bank_that_was_cut_off_is_gone_on_with(tmp_path: Path, cut: int) -> None:
    out, said = tmp_path / "bank.jsonl.gz", list[str]()
    write_bank(out, HEADER, some(20))
    content = gzip.decompress(out.read_bytes())
    packed = gzip.compress(content)
    out.write_bytes(packed[:-cut])
    with opened_journal(out, HEADER, say(said)) as journal:
        kept = list(journal)
        assert kept == some(20)[: len(kept)]
        assert header_at(out) == HEADER
        journal.add(replace(SAMPLE, index=99))
        journal.finish({})
    assert said == [f"{out}: dropped its last row, which was cut off in mid-write"]
    assert [sample.index for sample in read_bank(out)] == [*range(len(kept)), 99]


def test_what_is_in_the_bank_and_in_the_journal_counts_once(tmp_path: Path) -> None:
    out = tmp_path / "bank.jsonl.gz"
    with opened_journal(out, HEADER, print) as journal:
        for sample in some(2):
            journal.add(sample)
        # As if the process were killed between writing the bank and removing the journal.
        write_bank(out, HEADER, [replace(sample, right=True) for sample in some(2)])
    with opened_journal(out, HEADER, print) as journal:
        assert [sample.right for sample in journal] == [True, True]


def test_only_one_process_may_record_into_a_bank(tmp_path: Path) -> None:
    out = tmp_path / "bank.jsonl.gz"
    with (
        opened_journal(out, HEADER, print),
        pytest.raises(ConfigurationError, match="another `entroute bank` records into it"),
        opened_journal(out, HEADER, print),
    ):
        pass


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"temperature": 0.2}, "was recorded with temperature 0.7, not 0.2; give that, or another"),
        ({"max_tokens": 9}, "was recorded with max_tokens 320, not 9"),
        ({"seed": 1}, "was recorded with seed None, not 1"),
        ({"engine": "other"}, "was recorded with engine 'made up 1.0', not 'other'"),
        ({"tiers": {"small": "other"}}, "its tier 'small' is 'small-model', not 'other'; give"),
    ],
)
def test_what_was_recorded_otherwise_is_not_mixed(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    out = tmp_path / "bank.jsonl.gz"
    write_bank(out, HEADER, [])
    before = out.read_bytes()
    with (
        pytest.raises(ConfigurationError) as error,
        opened_journal(out, replace(HEADER, **change), print),
    ):
        pass
    assert str(error.value).startswith(f"{out}: {words}")
    assert [path.name for path in tmp_path.iterdir()] == ["bank.jsonl.gz"]
    assert out.read_bytes() == before


def test_more_draws_and_more_tiers_may_be_added(tmp_path: Path) -> None:
    out = tmp_path / "bank.jsonl.gz"
    write_bank(out, replace(HEADER, samples=8), [])
    more = replace(HEADER, tiers={"large": "large-model"}, samples=6, hard_trials=9)
    with opened_journal(out, more, print) as journal:
        header: BankHeader = journal.header
    assert header.tiers == {"small": "small-model", "large": "large-model"}
    assert (header.samples, header.hard_trials) == (8, 9)


def test_a_summary_is_not_recorded_into(tmp_path: Path) -> None:
    out = tmp_path / "bank.jsonl.gz"
    write_bank(out, replace(HEADER, summary=True), [])
    with (
        pytest.raises(ConfigurationError, match="is a summary; record into the full bank"),
        opened_journal(out, HEADER, print),
    ):
        pass
