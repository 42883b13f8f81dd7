"""A child process, its process group and the last lines it wrote."""

import asyncio
import logging
import os
import signal
from asyncio.subprocess import PIPE, STDOUT, Process
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Self

logger = logging.getLogger(__name__)

TAIL_LINES = 20


class Child:
    """A running command in a process group of its own.

    Its standard input is a pipe that is never written: it reads end-of-file when this process ends
    in whatever way, and a well-made child leaves then.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._reading = asyncio.create_task(self._read(), name=f"output of {process.pid}")

    @classmethod
    async def spawn(cls, command: Sequence[str], environment: Mapping[str, str]) -> Self:
        """Start a command.

        Raises:
            OSError: It cannot be executed.
        """
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=STDOUT,
            env=environment,
            start_new_session=True,
        )
        return cls(process)

    @property
    def pid(self) -> int:
        """Process id, and id of the process group."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.returncode is None

    @property
    def tail(self) -> str:
        """The last lines it wrote, 20 at most."""
        return "\n".join(self._tail)

    async def ended(self) -> int:
        """Wait for the end and return the exit status (negative: the signal that ended it)."""
        status = await self._process.wait()
        # A grandchild may hold the pipe open; what the child itself wrote is read at once.
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._reading), timeout=0.5)
        return status

    async def end(self, grace_s: float) -> None:
        """End the whole group: ask by SIGTERM, insist by SIGKILL after `grace_s` seconds.

        What outlives the first process of the group is killed at once.
        """
        try:
            self._signal(signal.SIGTERM)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), grace_s)
        finally:
            self._signal(signal.SIGKILL)
        await self.ended()
        self._reading.cancel()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    async def _read(self) -> None:
        stream = self._process.stdout
        if stream is None:
            return
        # Chunks, not lines: a progress bar without newlines must not overflow a line buffer.
        unfinished = ""
        while chunk := await stream.read(8192):
            *lines, unfinished = (unfinished + chunk.decode(errors="replace")).split("\n")
            self._keep(lines)
            unfinished = unfinished[-8192:]
        self._keep([unfinished])

    def _keep(self, lines: Sequence[str]) -> None:
        for line in lines:
            if line.strip():
                self._tail.append(line.rstrip())
                logger.debug("[%d] %s", self._process.pid, line.rstrip())
