"""Server processes of these tests: start one, wait until it answers, stop it with its children."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

_STOP_S = 20.0


@contextmanager
def served(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    probe: str,
    log: Path,
    within_s: float,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends; enter when `probe` answers 200.

    Args:
        command: Program and arguments.
        environment: Variables added to this process's own.
        probe: URL that answers 200 once the server is ready.
        log: Where its output goes.
        within_s: Seconds it has to become ready.

    Raises:
        RuntimeError: It died or did not become ready; the message ends with its last words.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # vLLM's engine is a child: all are stopped as one group
        )
    try:
        _wait(process, probe, log, within_s)
        yield process
    finally:
        _stop(process)


def _wait(process: subprocess.Popen[bytes], probe: str, log: Path, within_s: float) -> None:
    until = time.monotonic() + within_s
    while not _answers(probe):
        if process.poll() is not None or time.monotonic() > until:
            fate = f"exited {process.returncode}" if process.poll() is not None else "is not ready"
            last = log.read_text(errors="replace")[-4000:]
            raise RuntimeError(f"{process.args!r} {fate}; {log} ends with:\n{last}")
        time.sleep(0.25)


def _answers(probe: str) -> bool:
    try:
        return httpx.get(probe, timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the process to end, then end whatever is left of its group."""
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
