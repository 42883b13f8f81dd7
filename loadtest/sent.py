"""What a fake worker sent, kept in a file that outlives it: two JSON lines a generation.

The first is written when a generation begins, with all that it will say; the second when it ends,
which it never does where the process is killed.
"""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, TextIO

from loadtest.describing import Described
from loadtest.failures import FailureKind

End = Literal["finished", "left", "killed"] | FailureKind
"""How a generation ended: in order; its client left; its process died; or by a failure."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One generation, as its worker tells it.

    `before` is the digest of the text it went on with, `text` all that it set out to say in
    `total` tokens, `made` how many it made (`total` at most; 0 where the process was killed).
    `begun` and `ended` are seconds since the epoch, `ended` infinite where the process was killed.
    """

    worker: str
    number: int
    prompt: str
    before: str
    text: str
    total: int
    begun: float
    failure: FailureKind | None
    finish_reason: str
    made: int = 0
    end: End = "killed"
    ended: float = float("inf")


def digest(text: str) -> str:
    """Return a short name of a text, empty for the empty one."""
    return blake2b(text.encode(), digest_size=8).hexdigest() if text else ""


class SentJournal:
    """Writes the file; without one nothing is kept.

    Args:
        file: Line-buffered, or None.
    """

    def __init__(self, file: TextIO | None) -> None:
        self._file = file

    def begun(self, told: Described, failure: FailureKind | None) -> None:
        """Note that a generation begins."""
        plan = told.plan
        self._write(
            {
                "worker": told.worker,
                "number": told.number,
                "prompt": told.prompt,
                "before": digest(told.before),
                "text": plan.content,
                "total": len(plan.steps),
                "begun": time.time(),
                "failure": failure,
                "finish_reason": plan.finish_reason,
            }
        )

    def ended(self, told: Described, made: int, end: End) -> None:
        """Note how it ended, after `made` tokens."""
        row = {"worker": told.worker, "number": told.number, "made": made, "end": end}
        self._write({**row, "ended": time.time()})

    def _write(self, row: Mapping[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(row) + "\n")


def opened(path: Path | None) -> SentJournal:
    """Open a journal for more lines."""
    # Open as long as the process is: a line must be in the file before its answer is on its way.
    return SentJournal(None if path is None else path.open("a", buffering=1, encoding="utf-8"))


def read_sent(paths: Iterable[Path]) -> dict[tuple[str, int], Sent]:
    """Read journals: generations by worker and number."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue  # cut off when its process was killed
            found.setdefault((row["worker"], row["number"]), {}).update(row)
    return {key: Sent(**row) for key, row in found.items() if "text" in row}
