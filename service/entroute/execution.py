"""What came of running a program that a model wrote."""

from dataclasses import dataclass
from typing import Literal

ExecutionStatus = Literal["ok", "error", "timeout", "killed"]


@dataclass(frozen=True, slots=True)
class Execution:
    """One program's run in a sandbox.

    Attributes:
        status: ok (it ran to its very end; leaving early, even with status 0, is an error), error
            (it raised or left early), timeout (wall or CPU time ran out), killed (by a limit on
            memory, processes or files, or by a signal).
        stdout: What it printed, cut at the sandbox's limit.
        error: The last line of its traceback or what killed it, "" when it is ok.
        seconds: Wall time it took, 0 or more.
    """

    status: ExecutionStatus
    stdout: str = ""
    error: str = ""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether it ran to its very end."""
        return self.status == "ok"
