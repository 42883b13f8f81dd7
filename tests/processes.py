"""Trusted programs in a process of their own, for tests of what is made of their output."""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE
from dataclasses import dataclass

from entroute.execution import Execution, Repeat

START_S = 60.0
"""Seconds that a program gets at least."""

NOISE = (
    "import os\nos.write(1, b'x' * 200_000)",
    "import os\nos.write(1, b'half a line')",
    "import sys\nsys.__stdout__.write('x' * 200_000)\nsys.__stdout__.flush()",
    "import os\nos.close(1)",
)
"""Programs that write past `print`, more than is kept, or close what others write to."""


@dataclass(frozen=True, slots=True)
class OwnProcess:
    """Runs programs in a fresh interpreter, which keeps them from nothing.

    Attributes:
        kept: Bytes of stdout that are kept, from the start.
    """

    kept: int = 65_536

    async def run(
        self, source: str, *, stdin: str = "", wall_s: float = 10.0, repeat: Repeat | None = None
    ) -> Execution:
        """Run a program. See `Sandbox.run`."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-c", source, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
        )
        try:
            # Starting an interpreter takes long where others start too.
            async with asyncio.timeout(max(wall_s, START_S)):
                stdout, stderr = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()
        printed = stdout[: self.kept].decode(errors="replace")
        if process.returncode:
            return Execution("error", printed, stderr.decode().strip().split("\n")[-1])
        return Execution("ok", printed)
