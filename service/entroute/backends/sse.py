"""Server-sent events, the reading side: bytes in any slices to the data of whole events."""

from collections.abc import Iterator

from entroute.errors import WorkerProtocolError

MAX_EVENT_BYTES = 4 * 1024 * 1024
"""An event larger than this is no token of any model."""

_BOM = b"\xef\xbb\xbf"


class EventReader:
    """Turns slices of a stream into events, whatever the slices' borders.

    Comments, event names, ids and retry fields are passed over; line ends may be LF or CRLF. A
    byte-order mark before the first line is dropped, as the standard has it. The work grows with
    the bytes that are fed, however small the slices.

    Source: WHATWG HTML, server-sent events, section 9.2.6; a lone CR is no line end here.
    """

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the data of every event that `data` completes.

        Raises:
            WorkerProtocolError: An event is larger than `MAX_EVENT_BYTES`.
        """
        *ends, rest = data.split(b"\n")
        for end in ends:
            self._hold(end)
            event = self._ended()
            if event is not None:
                yield event
        self._hold(rest)

    def _hold(self, piece: bytes) -> None:
        """Take a piece of a line."""
        if self._size + len(self._line) + len(piece) > MAX_EVENT_BYTES:
            raise WorkerProtocolError("?", f"an event is larger than {MAX_EVENT_BYTES} bytes")
        self._line += piece

    def _ended(self) -> bytes | None:
        """Take a whole line; return the event's data where it was the last of one."""
        line = bytes(self._line).removesuffix(b"\r")
        self._line.clear()
        if not self._begun:
            self._begun, line = True, line.removeprefix(_BOM)
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
            self._size += len(line)
        elif not line and self._data:
            event = b"\n".join(self._data)
            self._data, self._size = [], 0
            return event
        return None
