"""Run inside a sandbox: wait for ONE program on stdin, run it, report how it ended, leave.

It stands alone: the sandbox shows it the standard library and nothing of entroute. It writes
`ready` when it waits, `started` when it has read its program, and at the program's very end one
line that opens with a secret which came with the program. A program that leaves early writes none.
"""

import contextlib
import errno
import json
import math
import os
import resource
import sys
import time
import traceback
import types
from typing import Any

_LIMITS = frozenset({errno.EAGAIN, errno.ENOMEM, errno.ENOSPC, errno.EFBIG, errno.EMFILE})
_ERROR_CHARACTERS = 500


def main() -> None:
    """Serve one program."""
    report_fd, limits = int(sys.argv[1]), json.loads(sys.argv[2])
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    for name, value in limits.items():
        resource.setrlimit(getattr(resource, name), (value, value))
    os.write(report_fd, b"ready\n")
    job = _read_job()
    # A second more for whoever handles the signal; then the kernel kills.
    cpu_s = math.ceil(time.process_time() + job["cpu_s"])
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    os.write(report_fd, b"started\n")
    sys.argv[:] = ["program.py"]
    status, error = _run(job["source"])
    report = json.dumps({"status": status, "error": error})
    os.write(report_fd, f"{job['secret']} {report}\n".encode())
    os._exit(0)


def _read_job() -> dict[str, Any]:
    # Not through sys.stdin: what follows the job is the program's own input.
    size = int.from_bytes(_read_exactly(4), "big")
    job: dict[str, Any] = json.loads(_read_exactly(size))
    return job


def _read_exactly(size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = os.read(0, size - len(data))
        if not more:
            os._exit(0)  # whoever started the sandbox let go of it
        data += more
    return data


def _run(source: str) -> tuple[str, str]:
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    try:
        exec(compile(source, "program.py", "exec"), module.__dict__)  # noqa: S102 (the purpose)
        _flush()
    except BaseException as failure:  # noqa: BLE001 (whatever a program raises is its result)
        return _judge(failure)
    return "ok", ""


def _flush() -> None:
    for stream in (sys.stdout, sys.__stdout__):
        if stream is not None and not stream.closed:
            stream.flush()


def _judge(failure: BaseException) -> tuple[str, str]:
    lines = "".join(traceback.format_exception_only(failure)).strip().splitlines()
    error = lines[-1][:_ERROR_CHARACTERS] if lines else type(failure).__name__
    with contextlib.suppress(BaseException):  # the first failure is the one to tell
        _flush()
    if isinstance(failure, SystemExit):
        return "error", f"the program left before its end ({error})"
    return ("killed" if _over_a_limit(failure) else "error"), error


def _over_a_limit(failure: BaseException) -> bool:
    if isinstance(failure, OSError):
        return failure.errno in _LIMITS
    return isinstance(failure, MemoryError) or (
        isinstance(failure, RuntimeError) and "can't start new thread" in str(failure)
    )


if __name__ == "__main__":
    main()
