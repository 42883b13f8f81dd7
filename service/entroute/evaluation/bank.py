"""A bank: samples of real models, recorded once with their tokens, grades and times.

One JSON object a line, gzip if the name ends in `.gz`; the first line is the header with the
schema version. A full bank holds every token and can be replayed; a summary leaves texts and
tokens out and is small enough for a repository. Knows nothing of what is right.
"""

import gzip
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Literal, cast

import orjson
from pydantic import TypeAdapter, ValidationError

from entroute.errors import ConfigurationError
from entroute.evaluation.samples import SCHEMA, BankHeader, Entropy, Key, Sample

__all__ = ["SCHEMA", "Bank", "BankHeader", "Entropy", "Sample", "read_bank", "write_bank"]

UNREADABLE = (EOFError, gzip.BadGzipFile, zlib.error)
"""What reading compressed rows raises where they are cut off or damaged."""

_GO_ON = "`entroute bank` with the same --prompts and --out goes on from there"
_HEADER: TypeAdapter[BankHeader] = TypeAdapter(BankHeader)
_SAMPLE: TypeAdapter[Sample] = TypeAdapter(Sample)


def journal_of(path: Path) -> Path:
    """Return where the rows of a bank are kept while it is recorded."""
    return path.with_name(f"{path.name}.journal")


class CutOff(ConfigurationError):
    """A bank ends in mid-row or in mid-member; the message says how to go on."""


@dataclass(frozen=True, slots=True)
class Bank:
    """A bank on disk; every iteration reads it anew, one sample at a time.

    Iterating raises ConfigurationError where a row is wrong: see `read_bank`.

    Attributes:
        path: The file.
        header: Its first line.
    """

    path: Path
    header: BankHeader

    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples in the order they were written."""
        seen: set[Key] = set()
        for number, line in lines_of(self.path):
            if number > 1:
                sample = sample_of(self.path, number, line)
                _check(self.path, number, sample, self.header, seen)
                yield sample


def read_bank(path: Path) -> Bank:
    """Open a bank and read its header; its samples are read by iterating.

    Raises:
        ConfigurationError: The file is no bank, of another schema, cut off, or holds a tier that
            its header does not know or a sample twice; the message names the file, the line and
            what to do. Only what the header shows is raised here, the rest by iterating.
    """
    for _, line in lines_of(path):
        return Bank(path, header_of(path, line))
    raise ConfigurationError(f"{path}: line 1: the file is empty; record a bank into it")


def write_bank(path: Path, header: BankHeader, samples: Iterable[Sample]) -> int:
    """Write a bank and return how many samples it holds; an older file is replaced whole."""
    unfinished = path.with_name(f"{path.name}.part")
    count = 0
    with _opened(unfinished, "wb", compressed=path.suffix == ".gz") as stream:
        stream.write(orjson.dumps(header) + b"\n")
        for sample in samples:
            stream.write(row_of(sample, summary=header.summary))
            count += 1
    unfinished.replace(path)
    return count


def summarised(bank: Bank, out: Path) -> int:
    """Write a bank's summary, without texts and tokens; return how many samples it holds."""
    return write_bank(out, replace(bank.header, summary=True), bank)


def row_of(sample: Sample, *, summary: bool = False) -> bytes:
    """Return a sample as a line of a bank."""
    kept = sample
    if summary:
        kept = replace(sample, message="", text="", tokens=(), logprobs=(), top=())
    return orjson.dumps(kept) + b"\n"


def header_of(path: Path, line: bytes) -> BankHeader:
    """Return the header on a bank's first line.

    Raises:
        ConfigurationError: It is none, or of another schema.
    """
    schema = _schema(line)
    if schema is None:
        raise ConfigurationError(f"{path}: line 1: no header of {SCHEMA}; this file is no bank")
    if schema != SCHEMA:
        raise ConfigurationError(
            f"{path}: line 1: its schema is {schema!r}, this version reads {SCHEMA}; record the "
            "bank again with the command in its header"
        )
    try:
        return _HEADER.validate_json(line, strict=True)
    except ValidationError as error:
        raise ConfigurationError(f"{path}: line 1: header: {_first(error)}") from None


def sample_of(path: Path, number: int, line: bytes) -> Sample:
    """Return the sample on a line of a bank.

    Raises:
        ConfigurationError: It is none.
    """
    try:
        return _SAMPLE.validate_json(line, strict=True)
    except ValidationError as error:
        place = f"{path}: line {number}"
        if not line.endswith(b"\n"):
            raise CutOff(f"{place}: cut off in mid-write; {_GO_ON}") from None
        if schema := _schema(line):
            message = f"a second header, of {schema!r}: two banks were joined; keep them apart"
        else:
            message = f"no sample of {SCHEMA}: {_first(error)}"
        raise ConfigurationError(f"{place}: {message}") from None


def lines_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file, from 1; gzip members one after another if it ends in `.gz`.

    Raises:
        ConfigurationError: It cannot be read, or is cut off or damaged in mid-member.
    """
    number = 0
    try:
        with _opened(path, "rb", compressed=path.suffix == ".gz") as stream:
            for number, line in enumerate(stream, start=1):
                yield number, line
    except EOFError as error:
        raise CutOff(f"{path}: line {number + 1}: cut off; {_GO_ON}") from error
    except UNREADABLE as error:
        raise ConfigurationError(
            f"{path}: line {number + 1}: damaged, or no gzip file: {error}; fetch it again"
        ) from error
    except FileNotFoundError as error:
        unfinished = journal_of(path).exists()
        what = f"is not finished: {_GO_ON}" if unfinished else "no such file"
        raise ConfigurationError(f"{path}: {what}") from error
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from error


def _check(path: Path, number: int, sample: Sample, header: BankHeader, seen: set[Key]) -> None:
    if sample.tier not in header.tiers:
        raise ConfigurationError(
            f"{path}: line {number}: tier '{sample.tier}' is none of the header's: "
            f"{', '.join(header.tiers)}"
        )
    if sample.key in seen:
        raise ConfigurationError(
            f"{path}: line {number}: sample {sample.index} of '{sample.prompt}' ({sample.form}) by "
            f"'{sample.tier}' is there twice; keep one of the rows"
        )
    seen.add(sample.key)


def _schema(line: bytes) -> str | None:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return str(row["schema"]) if isinstance(row, dict) and "schema" in row else None


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else str(first["msg"])


def _opened(path: Path, mode: Literal["rb", "wb"], *, compressed: bool) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, mode) if compressed else path.open(mode))
