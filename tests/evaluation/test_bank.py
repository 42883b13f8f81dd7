import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from entroute.errors import ConfigurationError
from entroute.evaluation.bank import read_bank, row_of, summarised, write_bank
from entroute.types import chosen_logprob, top_logprobs
from tests.evaluation.recorded import HEADER, SAMPLE, some


@pytest.mark.parametrize("name", ["bank.jsonl", "bank.jsonl.gz"])
def test_what_was_written_is_read_again(tmp_path: Path, name: str) -> None:
    assert write_bank(tmp_path / name, HEADER, some(3)) == 3
    bank = read_bank(tmp_path / name)
    assert bank.header == HEADER
    assert list(bank) == some(3)
    assert list(bank) == some(3)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_tokens_have_the_shape_that_workers_send() -> None:
    tokens = SAMPLE.token_logprobs
    assert [chosen_logprob(token) for token in tokens] == [-0.1, -0.2, 0.0]
    assert top_logprobs(tokens[1]) == (-0.2, -1.7)


def test_a_summary_keeps_all_but_texts_and_tokens(tmp_path: Path) -> None:
    full, brief = tmp_path / "full.jsonl.gz", tmp_path / "brief.jsonl.gz"
    long = replace(SAMPLE, tokens=("w",) * 500, logprobs=(-0.1,) * 500, top=((-0.1,),) * 500)
    samples = [replace(long, index=i, right=True, answer="4", text="w" * i) for i in range(50)]
    write_bank(full, HEADER, samples)
    assert summarised(read_bank(full), brief) == 50
    assert read_bank(brief).header == replace(HEADER, summary=True)
    bare: dict[str, Any] = {"message": "", "text": "", "tokens": (), "logprobs": (), "top": ()}
    assert list(read_bank(brief)) == [replace(sample, **bare) for sample in samples]
    assert brief.stat().st_size < 3000


def refused(path: Path) -> str:
    with pytest.raises(ConfigurationError) as error:
        list(read_bank(path))
    assert str(error.value).startswith(str(path))
    return str(error.value).removeprefix(f"{path}: ")


def bank_of(tmp_path: Path, *lines: bytes) -> Path:
    """Return a bank whose header is followed by lines."""
    path = tmp_path / "bank.jsonl"
    write_bank(path, HEADER, [])
    path.write_bytes(path.read_bytes() + b"".join(lines))
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: the file is empty; record a bank into it"),
        ("not json\n", "line 1: no header of entroute-bank-2; this file is no bank"),
        ("[]\n", "line 1: no header of entroute-bank-2; this file is no bank"),
        ('{"schema": "entroute-bank-1"}\n', "line 1: its schema is 'entroute-bank-1', this"),
        ('{"schema": "entroute-bank-2"}\n', "line 1: header: tiers: Field required"),
    ],
)
def test_a_file_that_is_no_bank_of_this_schema_is_refused(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "bank.jsonl"
    path.write_text(text)
    assert refused(path).startswith(words)


def test_a_row_that_is_no_sample_is_refused_by_line_and_field(tmp_path: Path) -> None:
    row = json.loads(row_of(SAMPLE))
    for change, words in [
        (
            {"index": "3"},
            "line 2: no sample of entroute-bank-2: index: Input should be a valid int",
        ),
        ({"index": -1}, "line 2: no sample of entroute-bank-2: Value error, index, latency_s and"),
        ({"mood": "good"}, "line 2: no sample of entroute-bank-2: mood: Unexpected keyword"),
        ({"logprobs": []}, "line 2: no sample of entroute-bank-2: Value error, tokens, logprobs"),
        ({"entropy": {"mean": 1}}, "line 2: no sample of entroute-bank-2: entropy.p90: Field req"),
    ]:
        path = bank_of(tmp_path, json.dumps(row | change).encode() + b"\n")
        assert refused(path).startswith(words)


def test_a_last_row_cut_off_in_mid_write_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = bank_of(tmp_path, row_of(SAMPLE), row_of(replace(SAMPLE, index=4))[:60])
    assert refused(path) == (
        "line 3: cut off in mid-write; `entroute bank` with the same --prompts and --out goes on "
        "from there"
    )


def test_a_tier_that_the_header_does_not_know_is_refused(tmp_path: Path) -> None:
    path = bank_of(tmp_path, row_of(SAMPLE), row_of(replace(SAMPLE, tier="huge")))
    assert refused(path) == "line 3: tier 'huge' is none of the header's: small"


def test_a_sample_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = bank_of(tmp_path, row_of(SAMPLE), row_of(replace(SAMPLE, text="another")))
    assert refused(path) == (
        "line 3: sample 3 of 'q-1' (reasoning) by 'small' is there twice; keep one of the rows"
    )


def test_banks_of_two_schemas_that_were_joined_are_refused(tmp_path: Path) -> None:
    path = bank_of(tmp_path, row_of(SAMPLE), b'{"schema": "entroute-bank-1"}\n')
    assert refused(path) == (
        "line 3: a second header, of 'entroute-bank-1': two banks were joined; keep them apart"
    )


def test_a_compressed_bank_that_was_cut_off_is_refused_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "bank.jsonl.gz"
    write_bank(path, HEADER, some(50))
    path.write_bytes(path.read_bytes()[:-20])
    assert ": cut off; `entroute bank` with" in refused(path)


def test_a_file_that_is_not_compressed_as_its_name_says_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bank.jsonl.gz"
    path.write_bytes(gzip.compress(b"")[:2] + b"nonsense")
    assert refused(path).startswith("line 1: damaged, or no gzip file: ")


def test_a_bank_whose_recording_was_interrupted_is_told_from_none(tmp_path: Path) -> None:
    path = tmp_path / "bank.jsonl.gz"
    assert refused(path) == "no such file"
    (tmp_path / "bank.jsonl.gz.journal").touch()
    assert refused(path).startswith("is not finished: `entroute bank` with the same --prompts")
    assert refused(tmp_path) == "Is a directory"


def test_gzip_members_one_after_another_are_one_bank(tmp_path: Path) -> None:
    path = tmp_path / "bank.jsonl.gz"
    write_bank(path, HEADER, some(1))
    more = gzip.compress(row_of(replace(SAMPLE, index=1)))
    path.write_bytes(path.read_bytes() + more)
    assert [sample.index for sample in read_bank(path)] == [0, 1]
