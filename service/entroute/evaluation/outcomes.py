"""Reads files of outcomes: one prompt a line, with the score of every model that answered it."""

import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson

from entroute.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Outcome:
    """One prompt and how well each model answered it.

    Attributes:
        question: The prompt.
        score: By model, higher is better; unit: the file's own.
        task: Benchmark or class it belongs to, "" when the file does not say.
        group: The finer class that the file tells apart (domain, category), else the task.
        in_tokens: Prompt tokens, or None.
        out_tokens: Completion tokens by model; empty when not known.
        cost: Of one answer by model, in the file's unit; empty when not known.
    """

    question: str
    score: Mapping[str, float]
    task: str
    group: str
    in_tokens: float | None
    out_tokens: Mapping[str, float]
    cost: Mapping[str, float]

    @property
    def key(self) -> str:
        """The question with spaces folded: equal prompts have equal keys."""
        return " ".join(self.question.split())


def read_outcomes(path: Path, models: Sequence[str]) -> list[Outcome]:
    """Return a file's prompts that all the models answered.

    Contaminated prompts and those without text are left out.

    Args:
        path: `.jsonl` or `.jsonl.gz`: `question`, `score{model: value}`, optional `contaminated`,
            `task`, `domain`, `category`, `in_tokens`, `out_tokens{}`, `cost{}`.
        models: Names that must occur in `score`.

    Raises:
        ConfigurationError: The file cannot be read, a line is malformed, or a model is not in it.
    """
    rows = [row for row in _rows(path) if row is not None]
    found = sorted({model for row in rows for model in row.score})
    for model in models:
        if model not in found:
            raise ConfigurationError(
                f"{path}: no prompt has a score of '{model}'; its models are: {', '.join(found)}"
            )
    kept = [row for row in rows if all(model in row.score for model in models)]
    if not kept:
        raise ConfigurationError(f"{path}: no prompt was answered by all of {', '.join(models)}")
    return kept


def _rows(path: Path) -> Iterator[Outcome | None]:
    number = 0
    try:
        with _opened(path) as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield _row(line, f"{path}:{number}")
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigurationError(f"{path}: cannot be read: {reason}") from error
    except (EOFError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cut off or damaged after line {number}") from error


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _row(line: str, place: str) -> Outcome | None:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(f"{place}: not JSON: {error}") from error
    if not isinstance(row, dict):
        raise ConfigurationError(f"{place}: must be an object with `question` and `score`")
    if "question" not in row or not isinstance(row["question"], str | None):
        raise ConfigurationError(f"{place}: question: must be the prompt's text")
    score = _numbers(row, "score", place)
    if "score" not in row or not row["score"]:
        raise ConfigurationError(f"{place}: score: must give each model's score, {{model: value}}")
    question = row["question"] or ""
    if row.get("contaminated") is True or not question.strip():
        return None
    task = str(row.get("task") or "")
    return Outcome(
        question=question,
        score=score,
        task=task,
        group=str(row.get("domain") or row.get("category") or task),
        in_tokens=_number(row.get("in_tokens"), "in_tokens", place),
        out_tokens=_numbers(row, "out_tokens", place),
        cost=_numbers(row, "cost", place),
    )


def _numbers(row: Mapping[str, Any], name: str, place: str) -> dict[str, float]:
    found = row.get(name) or {}
    if not isinstance(found, dict):
        raise ConfigurationError(f"{place}: {name}: must be an object, {{model: number}}")
    values = {model: _number(value, f"{name}.{model}", place) for model, value in found.items()}
    return {model: value for model, value in values.items() if value is not None}


def _number(value: object, name: str, place: str) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float):
        raise ConfigurationError(f"{place}: {name}: must be a number, not {value!r:.60}")
    return float(value)
