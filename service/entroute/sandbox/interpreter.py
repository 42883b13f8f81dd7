"""What of the host a sandboxed Python needs to see: interpreter, standard library, C libraries."""

import re
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from entroute.errors import ConfigurationError

_LDD_S = 60.0
_NEEDS = re.compile(r"^\s*(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)
_ON_DEMAND = ("libgcc_s.so.1",)
"""Libraries that libc loads at run time, so that no header names them."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """Files of the base interpreter, none of the virtual environment's.

    Attributes:
        executable: The interpreter.
        prefix: What its standard library's folders are relative to.
        stdlib: The standard library's folder.
        libraries: Shared libraries, by the names under which they are asked for.
        loader: The dynamic loader; None where the interpreter is linked statically.
    """

    executable: Path
    prefix: Path
    stdlib: Path
    libraries: tuple[Path, ...]
    loader: Path | None


def find_interpreter() -> Interpreter:
    """Return this process's base interpreter; it asks `ldd`, so it takes some 0.1 s.

    Raises:
        ConfigurationError: The interpreter or `ldd` cannot be found or run.
    """
    executable = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    stdlib = Path(sysconfig.get_path("stdlib"))
    dynamic = sorted(stdlib.glob("lib-dynload/*.so"))
    needed = _needed([executable, *(path for path in dynamic if "_tkinter" not in path.name)])
    loader = next((path for path in needed if path.name.startswith("ld-")), None)
    libraries = {path.name: path for path in needed if path != loader}
    for name in _ON_DEMAND:
        beside = {path.parent / name for path in needed}
        libraries.update({path.name: path for path in beside if path.exists()})
    return Interpreter(
        executable,
        Path(sys.base_prefix),
        stdlib,
        tuple(sorted(libraries.values())),
        loader,
    )


def _needed(files: list[Path]) -> list[Path]:
    command = ["ldd", *map(str, files)]
    try:
        answer = subprocess.run(  # noqa: S603 (our own interpreter's files)
            command, capture_output=True, text=True, timeout=_LDD_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(
            f"sandbox: `ldd` cannot say which libraries Python needs ({error}); install it (package"
            " libc-bin), or run the sandbox elsewhere and set sandbox.kind to http"
        ) from error
    # A module whose library is missing on the host cannot be imported there either.
    return [Path(found) for found in dict.fromkeys(_NEEDS.findall(answer.stdout))]
