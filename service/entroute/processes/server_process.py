"""One server process as its supervisor sees it."""

import asyncio
import json
import pickle
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from entroute.errors import ServerProcessFailed
from entroute.processes.frames import Frame, Kind, packed, received
from entroute.settings import Settings

_LAST_WORDS_S = 1.0

Scrape = Callable[[], Awaitable[bytes]]
"""Returns the metrics of all processes."""


@dataclass(frozen=True, slots=True)
class Start:
    """How a process is to run.

    Attributes:
        number: Which of them it is, from 1.
        settings: The configuration that all have.
        engine_urls: Base URL by tier, of engines that were started for it.
    """

    number: int
    settings: Settings
    engine_urls: Mapping[str, str]


class ServerProcess:
    """A running process and the channel to it.

    Args:
        number: Which of them it is, from 1.
        process: The process.
        channel: What it says, and where to answer.
        scrape: Asked when a client asks it for metrics.

    Attributes:
        number: Which of them it is, from 1.
        ready: Set once it takes requests.
        counted: Its metrics as it last sent them, None before.
    """

    def __init__(
        self,
        number: int,
        process: Process,
        channel: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        scrape: Scrape,
    ) -> None:
        self.number = number
        self.ready = asyncio.Event()
        self.counted: bytes | None = None
        self._process = process
        self._reader, self._writer = channel
        self._scrape = scrape
        self._failure: ServerProcessFailed | None = None
        self._asked: asyncio.Future[None] | None = None
        self._answering: set[asyncio.Task[None]] = set()
        self._listening = asyncio.create_task(self._listen(), name=f"server process {number}")

    @classmethod
    async def spawn(cls, start: Start, listener: socket.socket, scrape: Scrape) -> Self:
        """Start a fresh interpreter that answers on `listener`.

        Its session is its own, so that Ctrl-C reaches it through the supervisor only, and its
        standard input ends when the supervisor does.
        """
        ours, theirs = socket.socketpair()
        passed = (theirs.fileno(), listener.fileno())
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "entroute.processes", *map(str, passed)),
                stdin=PIPE,
                pass_fds=passed,
                start_new_session=True,
            )
        channel = await asyncio.open_unix_connection(sock=ours)
        one = cls(start.number, process, channel, scrape)
        one._send(Kind.START, pickle.dumps(start))
        return one

    @property
    def silent(self) -> bool:
        """Whether it has been asked for its metrics and has not answered yet."""
        return self._asked is not None

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    async def count(self, within_s: float) -> None:
        """Have its metrics renewed; one that owes an answer is not waited for again."""
        if self._asked is not None or not self.ready.is_set() or self._listening.done():
            return
        self._asked = asyncio.get_running_loop().create_future()
        self._send(Kind.COUNT)
        await asyncio.wait([self._asked], timeout=within_s)

    def signal(self, number: int) -> None:
        """Send it a signal; one that has ended is left alone."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def reload(self, settings: Settings) -> None:
        """Have it take a configuration, once it is ready."""
        self._send(Kind.RELOAD, pickle.dumps(settings))

    async def ended(self) -> int:
        """Wait for its end and return its status (negative: the signal that ended it)."""
        status = await self._process.wait()
        await asyncio.wait([self._listening], timeout=_LAST_WORDS_S)
        for task in (self._listening, *self._answering):
            task.cancel()
        self._writer.close()
        return status

    def failure(self, status: int) -> ServerProcessFailed:
        """Return why it ended: in its own words, else by its status."""
        return self._failure or ServerProcessFailed(
            f"server process {self.number} ended with status {status} during its start; "
            "what it logged says why",
            status if status > 0 else 1,
        )

    async def _listen(self) -> None:
        while (frame := await received(self._reader)) is not None:
            self._hear(frame)
        self._answered()

    def _hear(self, frame: Frame) -> None:
        match frame.kind:
            case Kind.READY:
                self.ready.set()
            case Kind.FAILED:
                message, code = json.loads(frame.payload)
                self._failure = ServerProcessFailed(message, code)
            case Kind.COUNTED:
                self.counted = frame.payload
                self._answered()
            case Kind.SCRAPE:
                task = asyncio.create_task(self._answer(frame.payload))
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)
            case _:
                pass  # only said to processes

    def _answered(self) -> None:
        if self._asked is not None and not self._asked.done():
            self._asked.set_result(None)
        self._asked = None

    async def _answer(self, which: bytes) -> None:
        self._send(Kind.PAGE, which + await self._scrape())

    def _send(self, kind: Kind, payload: bytes = b"") -> None:
        if not self._writer.is_closing():
            self._writer.write(packed(kind, payload))
