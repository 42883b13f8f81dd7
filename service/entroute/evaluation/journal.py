"""Rows of a bank that is being recorded, one plain line each, in a file beside the bank.

What was answered is on disk before the next answer is asked for, so that a process that is killed
loses nothing but calls in flight. The bank itself is written when the recording ends, and the
journal goes then; until that moment an older bank stays as it is, and its rows count as recorded.
"""

import fcntl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

import orjson

from entroute.errors import ConfigurationError
from entroute.evaluation.bank import (
    CutOff,
    journal_of,
    lines_of,
    read_bank,
    row_of,
    sample_of,
    write_bank,
)
from entroute.evaluation.grading import Grade
from entroute.evaluation.samples import BankHeader, Key, Sample

Say = Callable[[str], None]
"""Told what the user should know, one sentence at a time."""

_SAME = ("engine", "temperature", "max_tokens", "seed")


class Journal:
    """What is recorded of a bank: its rows so far, and new ones as they come.

    Args:
        out: The bank.
        header: What is about to be recorded.
        stream: The journal, open for appending after its last whole row.

    Attributes:
        header: The header that the bank will have.
    """

    def __init__(self, out: Path, header: BankHeader, stream: IO[bytes]) -> None:
        self.header = header
        self._out = out
        self._stream = stream

    def add(self, sample: Sample) -> None:
        """Write a row; it is on disk when this returns, whatever becomes of this process."""
        self._stream.write(row_of(sample))
        self._stream.flush()

    def __iter__(self) -> Iterator[Sample]:
        """Yield what is recorded: the bank's samples, then the journal's; each once."""
        seen: set[Key] = set()
        for path in (self._out, journal_of(self._out)):
            for sample in _samples(path):
                if sample.key not in seen:
                    seen.add(sample.key)
                    yield sample

    def finish(self, grades: Mapping[Key, Grade]) -> int:
        """Write the bank, with grades for those that have none yet; return its samples' number."""
        count = write_bank(self._out, self.header, (_with(s, grades.get(s.key)) for s in self))
        journal_of(self._out).unlink()
        return count


def header_at(out: Path) -> BankHeader | None:
    """Return the header of what is recorded so far, None where nothing is.

    Raises:
        ConfigurationError: What is there is no bank, or a summary.
    """
    for path in (journal_of(out), out):
        if path.exists() and b"\n" in path.read_bytes():
            return _header(path)
    return None


@contextmanager
def opened_journal(out: Path, header: BankHeader, say: Say) -> Iterator[Journal]:
    """Open a bank's journal, for this process alone; go on where an earlier recording stopped.

    A row that was cut off in mid-write is dropped, and `say` is told.

    Raises:
        ConfigurationError: Another process records into it, or what is there was recorded
            otherwise; the message says what differs.
    """
    path = journal_of(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigurationError(
                f"{out}: another `entroute bank` records into it; wait for it or stop it"
            ) from error
        try:
            merged = _begun(out, header, stream, say)
        finally:
            if stream.tell() == 0:
                path.unlink()  # nothing was recorded: what is there does not go with it
        yield Journal(out, merged, stream)


def _begun(out: Path, header: BankHeader, stream: IO[bytes], say: Say) -> BankHeader:
    """Make a journal ready for its next row; return the header of all that is there."""
    path = journal_of(out)
    _drop_cut_row(path, stream, say)
    for earlier in (out, path):
        if earlier.exists() and earlier.stat().st_size:
            header = _merged(out, _header(earlier), header)
    if out.exists():
        _tell_of_cut(out, say)
    if stream.tell() == 0:
        stream.write(orjson.dumps(header) + b"\n")
        stream.flush()
    return header


def _drop_cut_row(path: Path, stream: IO[bytes], say: Say) -> None:
    """Take off what stands behind the last whole line; leave the stream at the end."""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        stream.truncate(whole)
        say(f"{path}: dropped its last row, which was cut off in mid-write")
    stream.seek(0, 2)


def _tell_of_cut(path: Path, say: Say) -> None:
    last = b""
    try:
        for _, line in lines_of(path):
            last = line
    except CutOff:
        last = b""
    if not last.endswith(b"\n"):
        say(f"{path}: dropped its last row, which was cut off in mid-write")


def _samples(path: Path) -> Iterator[Sample]:
    """Yield the whole rows of a file that may be missing or cut off."""
    if not path.exists():
        return
    try:
        for number, line in lines_of(path):
            if number > 1 and line.endswith(b"\n"):
                yield sample_of(path, number, line)
    except CutOff:
        return


def _header(path: Path) -> BankHeader:
    header = read_bank(path).header
    if header.summary:
        raise ConfigurationError(f"{path}: is a summary; record into the full bank")
    return header


def _merged(out: Path, earlier: BankHeader, now: BankHeader) -> BankHeader:
    """Return the header of what is there and of what comes together.

    Raises:
        ConfigurationError: They do not go together.
    """
    for name in _SAME:
        old, new = getattr(earlier, name), getattr(now, name)
        if old != new:
            raise ConfigurationError(
                f"{out}: was recorded with {name} {old!r}, not {new!r}; give that, or another --out"
            )
    for tier, model in earlier.tiers.items():
        if now.tiers.get(tier, model) != model:
            raise ConfigurationError(
                f"{out}: its tier '{tier}' is {model!r}, not {now.tiers[tier]!r}; give that worker "
                "another tier's name, or another --out"
            )
    if earlier.hard_trials and now.samples > earlier.samples:
        raise ConfigurationError(
            f"{out}: hard prompts were given draws beyond {earlier.samples}, so that --samples "
            f"cannot be raised to {now.samples}; give another --out"
        )
    return replace(
        now,
        tiers={**earlier.tiers, **now.tiers},
        samples=max(earlier.samples, now.samples),
        hard_trials=max(earlier.hard_trials, now.hard_trials),
    )


def _with(sample: Sample, grade: Grade | None) -> Sample:
    return sample if grade is None else replace(sample, right=grade.right, answer=grade.answer)
