"""Runs a program that a model wrote, in a child that cannot hurt this machine for long.

It knows nothing about models or benchmarks. The child is cut in CPU time, memory, file size and
processes, works in an empty folder of its own, and is killed with all it started. It is not a
sandbox against an attacker: it can still read files and reach the network.
"""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from entroute.code import code_blocks, defining

_RUNNER = """\
import resource, runpy, sys
cpu, memory, file = (int(text) for text in sys.argv[2:5])
for kind, limit in (
    (resource.RLIMIT_CPU, cpu),
    (resource.RLIMIT_AS, memory),
    (resource.RLIMIT_FSIZE, file),
    (resource.RLIMIT_NPROC, 0),
    (resource.RLIMIT_CORE, 0),
):
    resource.setrlimit(kind, (limit, limit))
runpy.run_path(sys.argv[1], run_name="candidate")
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use: CPU and wall time in seconds, memory and files in bytes."""

    cpu_s: int = 5
    wall_s: float = 10.0
    memory_bytes: int = 1 << 30
    file_bytes: int = 1 << 20


def code_of(answer: str, entry_point: str) -> str:
    """Return the code in an answer: the last block that defines a function, else the longest.

    An answer without a fenced block is taken whole.
    """
    blocks = code_blocks(answer)
    found = defining(blocks, [entry_point])
    return found[-1] if found else max(blocks, key=len, default=answer)


def passes(program: str, limits: Limits | None = None) -> bool:
    """Tell whether a program runs to its very end without an error, within limits.

    Leaving early, even with exit status 0, is not passing.
    """
    limits = limits or Limits()
    proof = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="grading-") as folder:
        home = Path(folder)
        (home / "candidate.py").write_text(
            f"{program}\n\nimport os as _os\n_os.write(1, b'\\n{proof}\\n')\n", encoding="utf-8"
        )
        with (home / "out").open("wb") as out:
            status = _run(home, out.fileno(), limits)
        tail = (home / "out").read_bytes()[-200:]
    return status == 0 and proof.encode() in tail


def _run(home: Path, out: int, limits: Limits) -> int | None:
    """Run candidate.py of a folder and return its exit status, None if time ran out."""
    sizes = (limits.cpu_s, limits.memory_bytes, limits.file_bytes)
    process = subprocess.Popen(  # noqa: S603  # running the program is the purpose
        [sys.executable, "-I", "-c", _RUNNER, "candidate.py", *map(str, sizes)],
        cwd=home,
        env={"PATH": os.defpath, "HOME": str(home), "TMPDIR": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process.wait(timeout=limits.wall_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _kill_group(process)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # nothing of it is left
    process.wait()
