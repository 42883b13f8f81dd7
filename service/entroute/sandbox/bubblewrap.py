"""Runs programs in bubblewrap on this machine."""

import asyncio
import contextlib
import time
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.errors import ConfigurationError, SandboxUnavailable
from entroute.execution import Execution, Repeat
from entroute.protocols import Clock
from entroute.sandbox.checks import check_isolation
from entroute.sandbox.child import ChildDied, Job
from entroute.sandbox.command import find_bwrap
from entroute.sandbox.interpreter import find_interpreter
from entroute.sandbox.limits import KIB, MIB, Limits
from entroute.sandbox.pool import Pool
from entroute.sandbox.spawning import Spawner


class BubblewrapSandbox:
    """Programs in namespaces of their own, one warm sandbox each, none used twice.

    A program sees its interpreter, the standard library and an empty work folder; it has one
    process, one thread and no socket. See `Child` for what its report is worth.

    Args:
        config: Limits and sizes.
        clock: Monotonic seconds.
    """

    def __init__(self, config: "BubblewrapConfig", clock: Clock) -> None:
        self._config = config
        self._limits = config.limits()
        self._clock = clock
        self._pool: Pool | None = None

    async def start(self) -> None:
        """Check that isolation works here, then fill the pool.

        Raises:
            ConfigurationError: It does not; the message says what to do.
        """
        config = self._config
        bwrap = find_bwrap(config.bwrap)
        interpreter = await asyncio.to_thread(find_interpreter)
        spawner = Spawner(bwrap, interpreter, self._limits, config.start_s)
        await check_isolation(spawner, self._clock)
        pool = Pool(spawner.spawn, workers=config.workers, warm=config.warm, queue=config.queue)
        try:
            await pool.fill()
        except SandboxUnavailable as error:
            await pool.close()
            raise ConfigurationError(f"sandbox.warm: {error}; keep fewer ready") from error
        self._pool = pool

    async def run(
        self, source: str, *, stdin: str = "", wall_s: float = 10.0, repeat: Repeat | None = None
    ) -> Execution:
        """Run a program. See `Sandbox.run`; `wall_s` is cut to the configured maximum."""
        if self._pool is None:
            raise SandboxUnavailable("the sandbox is not started")
        job = Job(source, stdin, min(wall_s, self._limits.wall_s))
        # All that are kept warm may have been killed together, and a dead one may look alive.
        for _ in range(max(1, self._config.warm)):
            with contextlib.suppress(ChildDied):
                return await self._attempt(self._pool, job)
        return await self._attempt(self._pool, job)

    async def close(self) -> None:
        """End every sandbox and wait until all are gone."""
        if self._pool is not None:
            await self._pool.close()

    async def _attempt(self, pool: Pool, job: Job) -> Execution:
        async with pool.lend() as child:
            return await child.execute(job, self._limits, self._clock)


class BubblewrapConfig(BaseModel):
    """Programs that models wrote run on this machine, in bubblewrap."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["bubblewrap"] = Field("bubblewrap", description="Run programs on this machine.")
    bwrap: str | None = Field(
        None,
        description="Path of bwrap; without it the one on PATH, else that of the extra `sandbox`.",
    )
    workers: int = Field(2, ge=1, le=256, description="Programs that run at once, one core each.")
    warm: int = Field(
        2, ge=0, le=256, description="Idle interpreters kept ready, some 10 MiB each."
    )
    queue: int = Field(
        64, ge=0, le=10_000, description="Programs that may wait for a worker; more are refused."
    )
    start_s: float = Field(10.0, gt=0, le=60, description="Seconds a sandbox may take to start.")
    max_wall_s: float = Field(60.0, ge=1, le=600, description="Longest wall time of a run.")
    cpu_s: int = Field(10, ge=1, le=600, description="CPU seconds of a run.")
    memory_mib: int = Field(512, ge=64, le=65_536, description="Address space of a run, in MiB.")
    disk_mib: int = Field(
        32,
        ge=1,
        le=4096,
        description="All files of a run together, in MiB; they are in memory.",
    )
    file_mib: int = Field(16, ge=1, le=4096, description="Largest file of a run, in MiB.")
    open_files: int = Field(64, ge=16, le=1024, description="Files a run may have open.")
    output_kib: int = Field(
        64,
        ge=32,
        le=4096,
        description="Output that is kept, in KiB; a program that prints sixteen times as much is "
        "killed.",
    )

    def limits(self) -> Limits:
        """Return the limits of a run, in bytes and seconds."""
        return Limits(
            cpu_s=self.cpu_s,
            wall_s=self.max_wall_s,
            memory=self.memory_mib * MIB,
            disk=self.disk_mib * MIB,
            file=self.file_mib * MIB,
            open_files=self.open_files,
            output=self.output_kib * KIB,
        )

    def build(self, clock: Clock = time.monotonic) -> BubblewrapSandbox:
        """Return the sandbox, not started."""
        return BubblewrapSandbox(self, clock)
