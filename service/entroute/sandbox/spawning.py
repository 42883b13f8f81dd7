"""Starts sandboxes."""

import asyncio
import contextlib
import json
import os
import platform
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from dataclasses import dataclass

from entroute.errors import SandboxUnavailable
from entroute.sandbox.child import Child
from entroute.sandbox.command import Descriptors, sandbox_command
from entroute.sandbox.interpreter import Interpreter
from entroute.sandbox.limits import Limits
from entroute.sandbox.seccomp import syscall_filter

_INFO_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Spawner:
    """Everything a start needs.

    Attributes:
        bwrap: Path of bubblewrap.
        interpreter: What of the host is shown.
        limits: Set before a program is known.
        start_s: Seconds a start may take, over 0.
    """

    bwrap: str
    interpreter: Interpreter
    limits: Limits
    start_s: float

    async def spawn(self) -> Child:
        """Start a sandbox and wait until it is ready for its program.

        Raises:
            SandboxUnavailable: It did not start; the message holds bwrap's own words.
        """
        with _scratch(b"") as info:
            child = await self._start(info)
            try:
                ready = await self._first_word(child)
            except BaseException:
                await child.gone()
                raise
            if ready != b"ready\n":
                raise SandboxUnavailable(await child.gone() or "it was not ready in time")
            child.namespaces = json.loads(os.pread(info, _INFO_BYTES, 0))
        return child

    async def _first_word(self, child: Child) -> bytes:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.start_s):
                return await child.reports.readline()
        return b""

    async def _start(self, info: int) -> Child:
        ours, theirs = os.pipe()
        channel, reports = await _listen(ours)
        try:
            with _scratch(syscall_filter(platform.machine())) as syscalls:
                passed = Descriptors(syscalls, info, theirs)
                command = sandbox_command(self.bwrap, self.interpreter, self.limits, passed)
                process = await asyncio.create_subprocess_exec(
                    *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env={}, cwd="/",
                    pass_fds=(syscalls, info, theirs), start_new_session=True,
                )  # fmt: skip
        except OSError as error:
            channel.close()
            raise SandboxUnavailable(str(error)) from error
        except BaseException:
            channel.close()
            raise
        finally:
            os.close(theirs)
        return Child(process, reports, channel)


async def _listen(descriptor: int) -> tuple[asyncio.ReadTransport, asyncio.StreamReader]:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
    )
    return transport, reader


@contextlib.contextmanager
def _scratch(content: bytes) -> Iterator[int]:
    """Lend a file in memory that a child can read from its start."""
    descriptor = os.memfd_create("sandbox")
    try:
        os.write(descriptor, content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)
