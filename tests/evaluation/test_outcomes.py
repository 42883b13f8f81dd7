import gzip
from pathlib import Path

import pytest

from entroute.errors import ConfigurationError
from entroute.evaluation.outcomes import read_outcomes

GOOD = '{"question": "Why?", "score": {"small": 0, "large": 1}, "task": "t", "domain": "d"}'


def written(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_rows_are_read_with_what_they_hold(tmp_path: Path) -> None:
    costly = (
        '{"question": "How?", "score": {"small": 0.5, "large": 1}, "category": "c",'
        ' "in_tokens": 7, "out_tokens": {"small": 9}, "cost": {"small": 1e-6, "large": null}}'
    )
    first, second = read_outcomes(written(tmp_path / "a.jsonl", GOOD, "", costly), ["small"])
    assert (first.question, first.task, first.group) == ("Why?", "t", "d")
    assert first.score == {"small": 0, "large": 1}
    assert (second.in_tokens, second.out_tokens, second.cost) == (7, {"small": 9}, {"small": 1e-6})
    assert (second.task, second.group) == ("", "c")


def test_compressed_files_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(GOOD.encode()))
    assert len(read_outcomes(path, ["small"])) == 1


def test_contaminated_textless_and_unanswered_prompts_are_left_out(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.jsonl",
        GOOD,
        '{"question": "Seen", "score": {"small": 0}, "contaminated": true}',
        '{"question": null, "score": {"small": 0}}',
        '{"question": "Only large", "score": {"large": 0, "small": null}}',
    )
    assert [row.question for row in read_outcomes(path, ["small", "large"])] == ["Why?"]


def test_an_unknown_model_is_answered_by_the_names_there_are(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", GOOD)
    with pytest.raises(ConfigurationError, match=r"'huge'.*large, small"):
        read_outcomes(path, ["huge"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("[]", "must be an object"),
        ('{"score": {"small": 1}}', "question"),
        ('{"question": 3, "score": {"small": 1}}', "question"),
        ('{"question": "x"}', "score"),
        ('{"question": "x", "score": 1}', "score"),
        ('{"question": "x", "score": {"small": "good"}}', r"score\.small.*good"),
        ('{"question": "x", "score": {"small": 1}, "cost": {"small": "a"}}', r"cost\.small"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = written(tmp_path / "a.jsonl", GOOD, line)
    with pytest.raises(ConfigurationError, match=rf"a\.jsonl:2: .*{message}"):
        read_outcomes(path, ["small"])


def test_a_file_that_is_missing_or_cut_off_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.jsonl: cannot be read"):
        read_outcomes(tmp_path / "none.jsonl", ["small"])
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress((GOOD + "\n").encode() * 999)[:-20])
    with pytest.raises(ConfigurationError, match="cut off or damaged"):
        read_outcomes(cut, ["small"])
    plain = written(tmp_path / "plain.jsonl.gz", GOOD)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_outcomes(plain, ["small"])


def test_an_empty_file_is_no_file_of_outcomes(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"a\.jsonl"):
        read_outcomes(written(tmp_path / "a.jsonl", ""), ["small"])
