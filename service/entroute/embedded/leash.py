"""Run a command that ends with whoever started it: `python -m <this module> PROGRAM ARGUMENT...`.

The starter holds the writing end of our standard input. When it ends, in whatever way, the input
ends too, and the command's process group is ended. Other people's servers do not watch for this.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from types import FrameType

GRACE_S = 10.0


def main(command: list[str]) -> int:
    """Run the command and return its exit status; never return once the standard input ended.

    Args:
        command: Program and arguments.
    """
    # The signal reaches the whole group: let the command act on it, and outlive it.
    signal.signal(signal.SIGTERM, _ignore)
    signal.signal(signal.SIGINT, _ignore)
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603  ours, no shell
    input_ended = threading.Event()
    threading.Thread(target=_end_with_input, args=(input_ended,), daemon=True).start()
    status = child.wait()
    if input_ended.is_set():
        # Nobody is left to clear up what the command left behind.
        os.killpg(os.getpgrp(), signal.SIGKILL)
    return status if status >= 0 else 128 - status


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing; unlike SIG_IGN, a handler is not inherited by the command."""


def _end_with_input(input_ended: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    input_ended.set()
    group = os.getpgrp()
    os.killpg(group, signal.SIGTERM)
    time.sleep(GRACE_S)
    os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
