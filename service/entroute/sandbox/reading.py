"""What a sandbox says, read without trusting it: its output, its report, its exit status."""

import json
import signal
from dataclasses import dataclass, field

from entroute.execution import Execution, ExecutionStatus

_BY_SIGNAL = 128
"""A shell's and bwrap's exit status of a program that a signal killed, less the signal."""
_ERROR_CHARACTERS = 600
"""More than the runner's own longest error."""


@dataclass(slots=True)
class Collected:
    """Output as it comes in.

    Attributes:
        limit: Bytes that are kept, from the start.
        flood: Bytes over which its program is killed.
        seen: Bytes that came.
    """

    limit: int
    flood: int
    seen: int = 0
    _kept: bytearray = field(default_factory=bytearray)

    def add(self, data: bytes) -> None:
        """Take more of it."""
        self._kept += data[: max(0, self.limit - len(self._kept))]
        self.seen += len(data)

    @property
    def text(self) -> str:
        """What was kept; bytes that are no UTF-8 are replaced."""
        return self._kept.decode(errors="replace")

    @property
    def excess(self) -> str:
        """Why its program is killed, "" while it is not."""
        return "too much output" if self.seen > self.flood else ""


@dataclass(slots=True)
class Crowd:
    """Files and folders of a run.

    Attributes:
        limit: How many it may have.
        most: How many were seen at most.
    """

    limit: int
    most: int = 0

    @property
    def excess(self) -> str:
        """Why its program is killed, "" while it is not."""
        return "too many files" if self.most > self.limit else ""


@dataclass(slots=True)
class Report:
    """What came on the report channel after the sandbox was ready.

    Attributes:
        secret: What the line about the end must open with.
    """

    secret: str
    _data: bytearray = field(default_factory=bytearray)

    def add(self, data: bytes) -> None:
        """Take more of it."""
        self._data += data

    @property
    def seen(self) -> int:
        """Bytes that came."""
        return len(self._data)

    @property
    def started(self) -> bool:
        """Whether the program began."""
        return self._data.startswith(b"started\n")

    @property
    def forged(self) -> bool:
        """Whether anything was written that is not the runner's."""
        return bool(self._rest) and self.ending is None

    @property
    def ending(self) -> tuple[ExecutionStatus, str] | None:
        """Status and error as the runner told them, None unless it wrote that and nothing else."""
        opening = f"{self.secret} ".encode()
        if not self._rest.startswith(opening) or not self._rest.endswith(b"\n"):
            return None
        try:
            told = json.loads(self._rest[len(opening) :])
        except (ValueError, RecursionError):
            return None
        return _typed(told)

    @property
    def _rest(self) -> bytes:
        return bytes(self._data).removeprefix(b"started\n")


def _typed(told: object) -> tuple[ExecutionStatus, str] | None:
    """Return what a runner can have told; its channel is open to the program, so nothing is sure.

    Half surrogate pairs, which no answer can carry, become question marks.
    """
    match told:
        case {"status": "ok", "error": ""}:
            return "ok", ""
        case {"status": "error" | "killed" as status, "error": str(error)}:
            return status, error[:_ERROR_CHARACTERS].encode(errors="replace").decode()
        case _:
            return None


@dataclass(frozen=True, slots=True)
class Facts:
    """How a run ended, as seen from outside.

    Attributes:
        code: bwrap's exit status, negative if a signal killed bwrap itself.
        seconds: Wall time, 0 or more.
        cpu_s: CPU seconds that it had.
        late: Whether its wall time ran out.
        excess: What it was killed for, such as too much output; "" if it was not.
    """

    code: int
    seconds: float
    cpu_s: int
    late: bool
    excess: str


def judge(report: Report, output: Collected, facts: Facts) -> Execution:
    """Return what came of a run; ok needs the runner's own word and an exit like its own."""
    status, error = _ending(report, facts)
    return Execution(status, output.text, error, facts.seconds)


def _ending(report: Report, facts: Facts) -> tuple[ExecutionStatus, str]:
    if facts.excess or facts.late:
        return ("killed", facts.excess) if facts.excess else ("timeout", "wall time ran out")
    if report.forged:
        return "error", "the program wrote to the sandbox's report channel"
    if report.ending is not None and facts.code == 0:
        return report.ending
    return _early(facts)


def _early(facts: Facts) -> tuple[ExecutionStatus, str]:
    if facts.code < 0:
        return "killed", "the sandbox was killed"
    if facts.code <= _BY_SIGNAL:
        return "error", f"the program left before its end (exit status {facts.code})"
    number = facts.code - _BY_SIGNAL
    # A program can ignore SIGXCPU; a second later the kernel sends SIGKILL, as it does for memory.
    # One thread cannot have used that CPU time in less wall time.
    out_of_cpu = number == signal.SIGKILL and facts.seconds > facts.cpu_s
    if number == signal.SIGXCPU or out_of_cpu:
        return "timeout", "CPU time ran out"
    known = {item.value: item.name for item in signal.Signals}
    return "killed", known.get(number, f"signal {number}")
