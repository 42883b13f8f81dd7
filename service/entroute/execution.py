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


@dataclass(frozen=True, slots=True)
class Repeat:
    """Who may be given the result of a run again; without one a program is always run.

    Attributes:
        tenant: Whose program it is; nobody else is.
        nonce: A word in source and output that is of one run alone, "" for none.
        fresh: Whether it is run all the same, and its result kept in place of an older one.
    """

    tenant: str
    nonce: str = ""
    fresh: bool = False

    @staticmethod
    def of(tenant: str, cache: str, nonce: str = "") -> "Repeat | None":
        """Return it for a client's cache option; None for one that bypasses what is kept."""
        return None if cache == "bypass" else Repeat(tenant, nonce, fresh=cache == "refresh")
