"""A download that is a child process: watched by the bytes it writes, killed when it falls silent.

The hub's client and pip each have their own retries, time limits and configuration. Run as children
they keep all of it, and one rule here bounds them both.
"""

import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from entroute.embedded.catalogue import CatalogueModel
from entroute.errors import WeightsError

POLL_S = 0.2


class Source(Protocol):
    """Somewhere a model's file can be had."""

    @property
    def name(self) -> str:
        """Name of the source, for messages."""
        ...

    def fetch(self, model: CatalogueModel, workdir: Path, report: Callable[[int], None]) -> Path:
        """Write the model's file somewhere under `workdir` and return where.

        Args:
            model: What to fetch; its digest is checked by the caller.
            workdir: A folder of this source alone, kept after a failure so that it can resume.
            report: Told the bytes held so far, several times a second; may raise to abort.

        Raises:
            WeightsError: The source does not answer or does not have it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a download may write nothing before it is killed.

    Attributes:
        first_byte_s: Seconds before the first byte.
        silence_s: Seconds between later growths.
    """

    first_byte_s: float
    silence_s: float


def run_download(
    command: Sequence[str],
    directory: Path,
    patience: Patience,
    report: Callable[[int], None],
    environment: Mapping[str, str],
) -> None:
    """Run a command that downloads into a folder, reporting the folder's size in bytes as it grows.

    Raises:
        WeightsError: It failed (the message is its last line) or wrote nothing for too long.
    """
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(  # noqa: S603  our own argument list, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        try:
            _watch(child, directory, patience, report)
        finally:
            child.kill()
            child.wait()
        if child.returncode != 0:
            raise WeightsError(_last_line(output) or f"exit status {child.returncode}")


def _watch(
    child: subprocess.Popen[bytes],
    directory: Path,
    patience: Patience,
    report: Callable[[int], None],
) -> None:
    held = size_of(directory)
    allowed_s = patience.first_byte_s
    quiet_since = time.monotonic()
    while child.poll() is None:
        size = size_of(directory)
        report(size)
        if size != held:
            held, allowed_s, quiet_since = size, patience.silence_s, time.monotonic()
        elif time.monotonic() - quiet_since > allowed_s:
            raise WeightsError(f"no answer for {allowed_s:g} s")
        time.sleep(POLL_S)


def size_of(directory: Path) -> int:
    """Return the bytes of all files under a folder; files that vanish meanwhile count 0."""
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def _last_line(output: IO[bytes]) -> str:
    output.seek(0)
    lines = output.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
