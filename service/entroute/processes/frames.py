"""What a supervisor and its processes tell each other over a socket: a kind, a length, bytes."""

import asyncio
import struct
from enum import IntEnum
from typing import NamedTuple

_HEAD = struct.Struct("!BI")


class Kind(IntEnum):
    """What a frame says."""

    START = 1
    """To a process, first of all: how to run."""
    READY = 2
    """From a process: requests are taken."""
    FAILED = 3
    """From a process: why it ends."""
    COUNT = 4
    """To a process: send your metrics."""
    COUNTED = 5
    """From a process: its metrics."""
    SCRAPE = 6
    """From a process: a client asked for the metrics of all."""
    PAGE = 7
    """To a process: the answer to that."""
    RELOAD = 8
    """To a process: the configuration that it is to take."""


class Frame(NamedTuple):
    """One message.

    Attributes:
        kind: What it says.
        payload: What of it.
    """

    kind: Kind
    payload: bytes


def packed(kind: Kind, payload: bytes = b"") -> bytes:
    """Return a frame as it is sent."""
    return _HEAD.pack(kind, len(payload)) + payload


async def received(reader: asyncio.StreamReader) -> Frame | None:
    """Return the next frame, None once the other side is gone."""
    try:
        kind, length = _HEAD.unpack(await reader.readexactly(_HEAD.size))
        return Frame(Kind(kind), await reader.readexactly(length))
    except (asyncio.IncompleteReadError, OSError):
        return None
