"""Many sampled answers a prompt, each known to be right or wrong: the input of every stopping rule.

One JSON object a line, gzip if the name ends in `.gz`. A row is one prompt under one configuration
(model, prompt form, temperature): `correct` holds 0 or 1 a sample. Either `clusters` holds the
answer class of each sample (then `answers`, if there, is the text of each class), or `answers`
holds the answer of each sample and equal ones are one class. A class below 0 or null, and an
answer that is null or empty, is unparsable: it counts as a sample and never as a vote. A bank of
`entroute bank`, or its summary, is read, too.
"""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import orjson

from entroute.errors import ConfigurationError
from entroute.evaluation.answer_rows import AnswerRow
from entroute.evaluation.bank_answers import bank_rows, is_bank

PROMPT_KEYS = ("id", "prompt", "question")
TASK_KEYS = ("task", "dataset")
CONFIGURATION_KEYS = ("config", "prompt_style", "cot", "T")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows to keep; an empty tuple keeps all.

    Attributes:
        models: Names of models, whole.
        tasks: Names of tasks, whole.
        configurations: Words that a configuration has to hold, any one of them.
        least: Samples that a row has to have.
    """

    models: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    configurations: tuple[str, ...] = ()
    least: int = 1

    def keeps(self, row: AnswerRow) -> bool:
        """Decide whether a row is wanted."""
        return (
            len(row.answers) >= self.least
            and (not self.models or row.model in self.models)
            and (not self.tasks or row.task in self.tasks)
            and (
                not self.configurations
                or any(word in row.configuration.split() for word in self.configurations)
            )
        )


EVERYTHING = Selection()


def read_answer_samples(
    paths: Sequence[Path], selection: Selection = EVERYTHING
) -> tuple[AnswerRow, ...]:
    """Read the wanted rows of all files, in their order.

    Raises:
        ConfigurationError: A file cannot be read, is cut off, or a line is no row; nothing is left.
    """
    rows = [row for path in paths for row in _rows_of(path)]
    if not rows:
        raise ConfigurationError(f"{_names(paths)}: no rows; give a file of sampled answers")
    kept = tuple(row for row in rows if selection.keeps(row))
    if not kept:
        models = ", ".join(sorted({row.model for row in rows})[:12])
        tasks = ", ".join(sorted({row.task for row in rows})[:12])
        raise ConfigurationError(
            f"{_names(paths)}: none of {len(rows)} rows is of the wanted models and tasks; "
            f"there are models {models} and tasks {tasks}"
        )
    return kept


def _rows_of(path: Path) -> Iterator[AnswerRow]:
    """Yield a file's rows; a bank is known by its header."""
    try:
        with _opened(path) as stream:
            first = stream.readline()
    except (EOFError, gzip.BadGzipFile, zlib.error, OSError):
        first = b""  # reading the rows says what is wrong
    yield from bank_rows(path) if is_bank(first) else _rows(path)


def _rows(path: Path) -> Iterator[AnswerRow]:
    number = 0
    try:
        with _opened(path) as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield _row(line, f"{path}: line {number}", number)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ConfigurationError(
            f"{path}: after line {number}: cut off or no gzip file ({error}); fetch it again"
        ) from error
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror or error}") from error


def _opened(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb"))


def _row(line: bytes, where: str, number: int) -> AnswerRow:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(f"{where} is no JSON (is the file cut off?): {error}") from error
    if not isinstance(row, dict):
        raise ConfigurationError(f"{where}: give an object with `correct` and `answers`")
    answers, texts = _classes(row, where)
    correct = _correct(row, where)
    if len(answers) != len(correct):
        raise ConfigurationError(
            f"{where}: {len(answers)} answers but {len(correct)} in `correct`; give one a sample"
        )
    return AnswerRow(
        prompt=_first(row, PROMPT_KEYS) or f"line {number}",
        task=_first(row, TASK_KEYS),
        model=str(row.get("model", "")),
        configuration=" ".join(_label(key, row[key]) for key in CONFIGURATION_KEYS if key in row),
        answers=answers,
        correct=correct,
        texts=texts,
    )


def _classes(row: dict[str, Any], where: str) -> tuple[tuple[int | None, ...], tuple[str, ...]]:
    clusters, texts = row.get("clusters"), row.get("answers")
    if clusters is None:
        return _by_equality(texts, where)
    if not isinstance(clusters, list) or not clusters:
        raise ConfigurationError(f"{where}: `clusters` is to be a list, one class a sample")
    empty = set()
    if isinstance(texts, list):
        empty = {index for index, text in enumerate(texts) if _unparsable(text)}
    classes = tuple(_class(cluster, empty, where) for cluster in clusters)
    return classes, tuple(map(str, texts)) if isinstance(texts, list) else ()


def _class(cluster: object, empty: set[int], where: str) -> int | None:
    if cluster is None:
        return None
    if not isinstance(cluster, int) or isinstance(cluster, bool):
        raise ConfigurationError(f"{where}: `clusters` has {cluster!r}; give whole numbers or null")
    return None if cluster < 0 or cluster in empty else cluster


def _by_equality(answers: object, where: str) -> tuple[tuple[int | None, ...], tuple[str, ...]]:
    if not isinstance(answers, list) or not answers:
        raise ConfigurationError(f"{where}: neither `clusters` nor `answers` is a list of samples")
    known: dict[str, int] = {}
    classes = tuple(
        None if _unparsable(answer) else known.setdefault(_text(answer), len(known))
        for answer in answers
    )
    return classes, tuple(known)


def _text(answer: object) -> str:
    return orjson.dumps(answer, option=orjson.OPT_SORT_KEYS).decode()


def _unparsable(answer: object) -> bool:
    return answer is None or (isinstance(answer, str) and not answer.strip())


def _correct(row: dict[str, Any], where: str) -> tuple[bool, ...]:
    correct = row.get("correct")
    if not isinstance(correct, list):
        raise ConfigurationError(f"{where}: `correct` is to be a list of 0 and 1, one a sample")
    for value in correct:
        if not isinstance(value, int) or value not in (0, 1):
            raise ConfigurationError(f"{where}: `correct` has {value!r}; give 0 or 1")
    return tuple(value == 1 for value in correct)


def _first(row: dict[str, Any], keys: Sequence[str]) -> str:
    return next((str(row[key]) for key in keys if row.get(key) not in (None, "")), "")


def _label(key: str, value: object) -> str:
    match value:
        case bool():
            return key if value else f"no-{key}"
        case int() | float():
            return f"{key}={value}"
        case _:
            return str(value)


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(str(path) for path in paths) or "no file"
