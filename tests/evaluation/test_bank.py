import gzip
from dataclasses import replace
from pathlib import Path

import pytest

from entroute.errors import ConfigurationError
from entroute.evaluation.bank import Sample, read_bank, write_bank
from entroute.types import chosen_logprob, top_logprobs

SAMPLE = Sample(
    prompt="q-1",
    task="gsm8k",
    form="reasoning",
    tier="small",
    index=3,
    message="Wie viele Äpfel?",
    text="Es sind 4.",
    finish_reason="stop",
    prompt_tokens=12,
    latency_s=1.5,
    tokens=("Es", " sind", " 4."),
    logprobs=(-0.1, -0.2, 0.0),
    top=((-0.1, -2.5), (-0.2, -1.7), (0.0, -9.0)),
)


@pytest.mark.parametrize("name", ["bank.jsonl", "bank.jsonl.gz"])
def test_what_was_written_is_read_again(tmp_path: Path, name: str) -> None:
    samples = [replace(SAMPLE, index=index) for index in range(3)]
    assert write_bank(tmp_path / name, samples) == 3
    assert list(read_bank(tmp_path / name)) == samples
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_tokens_have_the_shape_that_workers_send() -> None:
    tokens = SAMPLE.token_logprobs
    assert [chosen_logprob(token) for token in tokens] == [-0.1, -0.2, 0.0]
    assert top_logprobs(tokens[1]) == (-0.2, -1.7)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"schema": "another"}\n', "is no bank of schema"),
        ("not json\n", "line 1 is no sample"),
        ('{"schema": "entroute-bank-1"}\n{"prompt": "q"}\n', "line 2 is no sample"),
        ('{"schema": "entroute-bank-1"}\n{"prompt": "q", "te', "line 2 is no sample"),
        ("[]\n", "line 1 is no sample"),
    ],
)
def test_a_file_that_is_no_bank_is_refused_by_its_line(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "bank.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=words):
        list(read_bank(path))


def test_a_compressed_bank_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bank.jsonl.gz"
    write_bank(path, [SAMPLE] * 50)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ConfigurationError, match="cut off"):
        list(read_bank(path))
    path.write_bytes(gzip.compress(b"")[:2] + b"nonsense")
    with pytest.raises(ConfigurationError, match=r"bank\.jsonl\.gz"):
        list(read_bank(path))
