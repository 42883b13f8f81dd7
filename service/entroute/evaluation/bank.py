"""A bank: samples of real models, recorded once with their tokens and log-probabilities.

One JSON object a line, gzip if the name ends in `.gz`; the first line is the header with the
schema version. Knows nothing of tasks or of what is right.
"""

import gzip
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, cast

import orjson

from entroute.errors import ConfigurationError
from entroute.types import TokenLogprob

SCHEMA = "entroute-bank-1"
"""First line's `schema`; raise it when a row's fields change in meaning."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer of one model to one prompt.

    Attributes:
        prompt: The prompt's id.
        task: The benchmark it belongs to.
        form: How it was asked: reasoning, program, code.
        tier: Tier that made it.
        index: Which of the independent draws it is, from 0.
        message: What the user asked, the whole conversation.
        text: The answer.
        finish_reason: Why it ended.
        prompt_tokens: Tokens read, as the worker counts them.
        latency_s: Seconds to the last token, at the load it was recorded under.
        tokens: Its tokens, as text.
        logprobs: Their log-probabilities in nats.
        top: The most probable alternatives' log-probabilities of each token, in nats.
    """

    prompt: str
    task: str
    form: str
    tier: str
    index: int
    message: str
    text: str
    finish_reason: str
    prompt_tokens: int
    latency_s: float
    tokens: tuple[str, ...] = field(default=())
    logprobs: tuple[float, ...] = field(default=())
    top: tuple[tuple[float, ...], ...] = field(default=())

    @property
    def token_logprobs(self) -> tuple[TokenLogprob, ...]:
        """The tokens as OpenAI's chat schema has them, alternatives without their text."""
        return tuple(
            {
                "token": token,
                "logprob": logprob,
                "bytes": None,
                "top_logprobs": [{"token": "", "logprob": p, "bytes": None} for p in top],
            }
            for token, logprob, top in zip(self.tokens, self.logprobs, self.top, strict=True)
        )


def write_bank(path: Path, samples: Iterable[Sample]) -> int:
    """Write a bank and return how many samples it holds; an older file is replaced whole."""
    unfinished = path.with_name(f"{path.name}.part")
    count = 0
    with _opened(unfinished, "wb", compressed=path.suffix == ".gz") as stream:
        stream.write(orjson.dumps({"schema": SCHEMA}) + b"\n")
        for sample in samples:
            stream.write(orjson.dumps(asdict(sample)) + b"\n")
            count += 1
    unfinished.replace(path)
    return count


def read_bank(path: Path) -> Iterator[Sample]:
    """Yield a bank's samples in the order they were written.

    Raises:
        ConfigurationError: The file is no bank, of another schema, or cut off; the message names
            the file and the line.
    """
    try:
        with _opened(path, "rb", compressed=path.suffix == ".gz") as stream:
            for number, line in enumerate(stream, start=1):
                sample = _row(path, number, line)
                if sample is not None:
                    yield sample
    except (EOFError, gzip.BadGzipFile) as error:
        raise ConfigurationError(f"{path}: cut off or no gzip file: {error}") from error


def _row(path: Path, number: int, line: bytes) -> Sample | None:
    try:
        row: dict[str, Any] = orjson.loads(line)
        if number == 1:
            if row.get("schema") != SCHEMA:
                raise ConfigurationError(f"{path}: is no bank of schema {SCHEMA}")
            return None
        lists = {name: tuple(row[name]) for name in ("tokens", "logprobs")}
        return Sample(**row | lists | {"top": tuple(tuple(top) for top in row["top"])})
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{path}: line {number} is no sample: {error}") from error


def _opened(path: Path, mode: Literal["rb", "wb"], *, compressed: bool) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, mode) if compressed else path.open(mode))
