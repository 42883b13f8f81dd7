"""Run a command as a container would: `python -m tests.deploy.confined PROFILE COMMAND...`.

Loads a seccomp profile of the OCI form into this process through the system's libseccomp, and
becomes the command. Knows nothing of what runs.
"""

import ctypes
import json
import os
import sys
from pathlib import Path

_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


def confine(profile: Path) -> None:
    """Apply a profile to this process and all that it starts.

    Raises:
        OSError: The kernel or the library refused.
    """
    told = json.loads(profile.read_text(encoding="utf-8"))
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(_ERRNO | told["defaultErrnoRet"]))
    for rule in told["syscalls"]:
        for name in rule["names"]:
            number = library.seccomp_syscall_resolve_name(name.encode())
            code = library.seccomp_rule_add(context, ctypes.c_uint32(_ALLOW), number, 0)
            if code:
                raise OSError(-code, f"{name}: {os.strerror(-code)}")
    code = library.seccomp_load(context)
    if code:
        raise OSError(-code, os.strerror(-code))


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606
