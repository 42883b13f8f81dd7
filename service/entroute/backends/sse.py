"""Server-sent events, the reading side: bytes in any slices to the data of whole events."""

from collections.abc import Iterator

from entroute.errors import WorkerProtocolError

MAX_EVENT_BYTES = 4 * 1024 * 1024
"""An event larger than this is no token of any model."""


class EventReader:
    """Turns slices of a stream into events, whatever the slices' borders.

    Comments, event names, ids and retry fields are passed over; line ends may be LF or CRLF.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the data of every event that `data` completes.

        Raises:
            WorkerProtocolError: An event is larger than `MAX_EVENT_BYTES`.
        """
        lines = (self._buffer + data).split(b"\n")
        self._buffer = lines.pop()
        for raw in lines:
            line = raw.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
                self._size += len(line)
            elif not line and self._data:
                yield b"\n".join(self._data)
                self._data, self._size = [], 0
        if self._size + len(self._buffer) > MAX_EVENT_BYTES:
            raise WorkerProtocolError("?", f"an event is larger than {MAX_EVENT_BYTES} bytes")
