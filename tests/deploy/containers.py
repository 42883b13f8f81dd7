"""Run what an image holds, as a container would: PID 1, read-only root, its user, no capability.

The network is this machine's, so that a fake worker on the loopback is reached and nothing is
published.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.images import Image

SCRIPT = Path(__file__).with_name("container.sh")
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Container:
    """A running container; `log` is what it has written."""

    process: subprocess.Popen[bytes]
    log: Path

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its PID 1."""
        for child in _children(self.process.pid):
            os.kill(child, number)

    def dead(self) -> list[int]:
        """Return processes that have ended and that its PID 1 has not collected."""
        inside = [child for first in _children(self.process.pid) for child in _children(first)]
        return [child for child in inside if _state(child) == "Z"]

    def told(self) -> str:
        """Return what it has written so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, text: str, within_s: float = 60.0) -> None:
        """Wait until it has written `text`.

        Raises:
            AssertionError: It has not, in time or at its end.
        """
        give_up = time.monotonic() + within_s
        while text not in self.told():
            if self.process.poll() is not None or time.monotonic() > give_up:
                raise AssertionError(f"the container did not say {text!r}:\n{self.told()}")
            time.sleep(_POLL_S)


def _children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text(encoding="ascii").split()]


def _state(pid: int) -> str:
    """Return a process's state by the kernel's letter, "" where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


def command(image: Image, configuration: Path, words: list[str]) -> list[str]:
    """Return the command line that runs `words` in the image, as its user and environment."""
    uid, _, _ = image.config["User"].partition(":")
    outside = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", str(SCRIPT)]
    return [*outside, str(image.root), str(configuration), uid, *words]


def environment(image: Image, changes: Mapping[str, str]) -> dict[str, str]:
    """Return the image's environment with changes, none of this process's."""
    own = dict(line.split("=", 1) for line in image.config["Env"])
    return {**own, **changes}


def ran(image: Image, configuration: Path, words: list[str], **variables: str) -> str:
    """Return what a command in the image prints.

    Raises:
        AssertionError: It failed.
    """
    done = subprocess.run(
        command(image, configuration, words),
        env=environment(image, variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def running(
    image: Image, configuration: Path, words: list[str], log: Path, **variables: str
) -> Iterator[Container]:
    """Run the image's entry point with `words`, and end it if it has not ended itself."""
    full = command(image, configuration, [*image.config["Entrypoint"], *words])
    own = environment(image, variables)
    with log.open("wb") as out:
        process = subprocess.Popen(full, env=own, stdout=out, stderr=out)
    try:
        yield Container(process, log)
    finally:
        if process.poll() is None:
            process.kill()  # unshare takes the container with it
        process.wait()
        print(log.read_text(encoding="utf-8", errors="replace"), file=sys.stderr)  # noqa: T201
