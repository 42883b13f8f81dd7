"""What a tier holds when entroute itself starts its model server."""

import socket
from typing import Protocol

LOOPBACK = "127.0.0.1"


class Engine(Protocol):
    """A model server on this machine that speaks OpenAI's API."""

    @property
    def name(self) -> str:
        """Served model id."""
        ...

    @property
    def url(self) -> str:
        """Base URL that ends in `/v1`, known before the start."""
        ...

    @property
    def running(self) -> bool:
        """Whether the server has answered its health URL and its process lives."""
        ...

    async def start(self) -> None:
        """Return once the server answers.

        Raises:
            EngineError: It cannot be started; the message says why and what to do.
            WeightsError: Its weights are missing.
        """
        ...

    async def stop(self) -> None:
        """End the server's processes; a stopped or never started engine is left as it is."""
        ...


def free_port() -> int:
    """Return a TCP port of the loopback interface that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def is_port_free(port: int) -> bool:
    """Return whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        # As servers do: connections of a predecessor in TIME_WAIT do not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
