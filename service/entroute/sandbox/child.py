"""One sandbox: a `bwrap` whose Python waits for one program, runs it and is gone."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
from asyncio.subprocess import Process
from dataclasses import dataclass, field

from entroute.errors import SandboxUnavailable
from entroute.execution import Execution
from entroute.protocols import Clock
from entroute.sandbox.command import WORK
from entroute.sandbox.limits import Limits
from entroute.sandbox.reading import Collected, Crowd, Facts, Report, judge

_REPORT_BYTES = 16 * 1024
_CHUNK = 64 * 1024
_LOOK_S = 0.05


class ChildDied(SandboxUnavailable):
    """The sandbox was gone before the program began; another one can run it."""


@dataclass(frozen=True, slots=True)
class Job:
    """One program to run.

    Attributes:
        source: Python source.
        stdin: What it finds on stdin.
        wall_s: Wall time it has, in seconds, over 0.
    """

    source: str
    stdin: str
    wall_s: float

    def frame(self, secret: str, cpu_s: int) -> bytes:
        """Return what the runner reads: length, job, and then the program's own input."""
        job = {"source": self.source, "secret": secret, "cpu_s": cpu_s}
        text = json.dumps(job).encode()
        return len(text).to_bytes(4, "big") + text + self.stdin.encode(errors="replace")


@dataclass(slots=True, eq=False)
class Child:
    """A started sandbox; `execute` may be called once.

    Its report is believed only with a secret that is drawn for the run and handed to the runner
    with the program. Code of the program that looks for the secret in its own process (the
    runner's frame, its memory) can find it and claim to have run to its end: the report is safe
    against programs that leave early or guess, not against ones made to lie. Lying never widens
    what a program may reach.

    Attributes:
        process: Its `bwrap`.
        reports: The channel on which the runner reports.
        channel: The transport under `reports`.
        namespaces: Inodes of its namespaces and its `child-pid`, by bwrap's names, once it is
            ready.
    """

    process: Process
    reports: asyncio.StreamReader
    channel: asyncio.ReadTransport
    namespaces: dict[str, int] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """Whether it still waits or runs."""
        return self.process.returncode is None

    def kill(self) -> None:
        """End all its processes at once: the kernel kills them with their `bwrap`.

        One that is still starting has a process that nothing ties to it yet, but for its group.
        """
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    @property
    def entries(self) -> int:
        """Files and folders in its work folder; 0 where they cannot be seen, as once it ended."""
        try:
            seen = os.statvfs(f"/proc/{self.namespaces['child-pid']}/root{WORK}")
        except (OSError, KeyError):
            return 0
        return seen.f_files - seen.f_ffree

    async def gone(self) -> str:
        """Kill it, wait until it is gone and its pipes are closed; return bwrap's complaint."""
        self.kill()
        self.channel.close()
        if self.process.stdin is not None:
            self.process.stdin.close()
        _, complaint = await asyncio.gather(
            _drain(self.process.stdout), _drain(self.process.stderr)
        )
        await self.process.wait()
        await self._collected()
        return complaint.decode(errors="replace").strip()

    async def _collected(self) -> None:
        """Take note of the death of the program's first process where nobody else does.

        It is left to PID 1, which in a container is this server, and would stay a zombie.
        """
        pid = self.namespaces.get("child-pid")
        if pid is not None and os.getpid() == 1:
            with contextlib.suppress(ChildProcessError):
                await asyncio.to_thread(os.waitpid, pid, 0)

    async def execute(self, job: Job, limits: Limits, clock: Clock) -> Execution:
        """Run a program; leave nothing running, whether it returns or is cancelled.

        Raises:
            ChildDied: The sandbox was gone before the program began.
        """
        secret, cpu_s, begun = secrets.token_hex(16), limits.cpu_for(job.wall_s), clock()
        output, report, late = Collected(limits.output, limits.flood), Report(secret), False
        crowd = Crowd(limits.entries)
        try:
            async with asyncio.timeout(job.wall_s):
                await self._talk(job.frame(secret, cpu_s), output, report, crowd)
        except TimeoutError:
            late = True
        finally:
            self.kill()
        if not (report.started or late):
            raise ChildDied("the sandbox ended before the program began")
        code = -1 if self.process.returncode is None else self.process.returncode
        facts = Facts(code, clock() - begun, cpu_s, late, output.excess or crowd.excess)
        return judge(report, output, facts)

    async def _talk(self, frame: bytes, output: Collected, report: Report, crowd: Crowd) -> None:
        async with asyncio.TaskGroup() as tasks:
            besides = tasks.create_task(self._feed(frame)), tasks.create_task(self._watch(crowd))
            tasks.create_task(self._hear(report))
            await self._collect(output)
            await self.process.wait()
            for task in besides:
                task.cancel()

    async def _feed(self, frame: bytes) -> None:
        pipe = self.process.stdin
        if pipe is None:
            raise RuntimeError("a sandbox is started with a pipe as its stdin")
        # A program may end, or close its stdin, without reading it.
        with contextlib.suppress(ConnectionError):
            pipe.write(frame)
            await pipe.drain()
        pipe.close()

    async def _watch(self, crowd: Crowd) -> None:
        while not crowd.excess:
            await asyncio.sleep(_LOOK_S)
            crowd.most = max(crowd.most, self.entries)
        self.kill()

    async def _collect(self, output: Collected) -> None:
        pipe = self.process.stdout
        while pipe is not None and (data := await pipe.read(_CHUNK)):
            output.add(data)
            if output.excess:
                self.kill()
                return

    async def _hear(self, report: Report) -> None:
        while data := await self.reports.read(_CHUNK):
            report.add(data)
            if report.seen > _REPORT_BYTES:
                self.kill()
                return


async def _drain(stream: asyncio.StreamReader | None) -> bytes:
    """Read to the end and return the first chunk."""
    if stream is None:
        return b""
    first = await stream.read(_CHUNK)
    while await stream.read(_CHUNK):
        pass
    return first
