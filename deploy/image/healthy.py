"""Exits 0 when the server in this container answers `GET /healthz`: `healthy.py [PORT]`.

Runs every few seconds, so it imports next to nothing.
"""

import os
import socket
import sys

PORT = "ENTROUTE_SERVER__PORT"
TIMEOUT_S = 4.0


def healthy(port: int) -> bool:
    """Return whether 127.0.0.1 answers 200 at `port`."""
    try:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection:
            connection.settimeout(TIMEOUT_S)
            connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(not healthy(int(sys.argv[1] if sys.argv[1:] else os.environ.get(PORT, "8080"))))
