"""vLLM on this machine, in this environment or in one of its own."""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import Mapping, Sequence
from pathlib import Path

from entroute.embedded.engine import LOOPBACK, free_port
from entroute.embedded.process import EngineProcess, ProcessSpec
from entroute.errors import EngineError

# Loading a model and compiling for it takes minutes.
STARTUP_TIMEOUT_S = 600.0
# A folder named vllm in the working directory is not the package.
SAFE_PATH = {"PYTHONSAFEPATH": "1"}


async def installed(python: str) -> bool:
    """Return whether an interpreter has vLLM, without importing it.

    Args:
        python: Path of the interpreter.

    Raises:
        EngineError: The interpreter cannot be run.
    """
    probe = "import importlib.util, sys; sys.exit(importlib.util.find_spec('vllm') is None)"
    try:
        process = await asyncio.create_subprocess_exec(
            *(python, "-c", probe),
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=DEVNULL,
            env={**os.environ, **SAFE_PATH},
        )
    except OSError as error:
        raise EngineError(
            f"cannot run {python}: {error}: give python the path of an interpreter that has vllm"
        ) from error
    return await process.wait() == 0


class VllmEngine(EngineProcess):
    """A vLLM server for one model.

    Args:
        name: Served model id.
        model: Repository on the model hub, or folder of the model.
        args: Further arguments of vLLM's server, such as `--max-model-len 4096`.
        port: Loopback port, 0 to have a free one chosen.
        python: Interpreter that has vLLM, None for the one that runs entroute.
        environment: Variables beside those of this process.
        startup_timeout_s: Seconds within which it must answer.
    """

    def __init__(  # noqa: PLR0913  keywords, each a setting of its own
        self,
        name: str,
        model: str,
        *,
        args: Sequence[str] = (),
        port: int = 0,
        python: Path | None = None,
        environment: Mapping[str, str] | None = None,
        startup_timeout_s: float = STARTUP_TIMEOUT_S,
    ) -> None:
        self._python = str(python) if python is not None else sys.executable
        port = port or free_port()
        # vLLM's own processes do not watch for the end of their parent.
        command = (
            *(sys.executable, "-P", "-m", "entroute.embedded.leash"),
            *(self._python, "-m", "vllm.entrypoints.openai.api_server"),
            *("--model", model, "--served-model-name", name),
            *("--host", LOOPBACK, "--port", str(port)),
            *args,
        )
        super().__init__(
            ProcessSpec(
                name,
                command,
                port,
                environment={**SAFE_PATH, **(environment or {})},
                startup_timeout_s=startup_timeout_s,
                grace_s=30.0,
            )
        )

    async def start(self) -> None:
        """Return once the model is loaded and the server answers.

        Raises:
            EngineError: vLLM is not installed, or the server did not come up.
        """
        if not await installed(self._python):
            raise EngineError(
                f"{self.name}: vllm is not installed for {self._python}: install entroute[vllm], "
                "or give python the path of an interpreter that has it"
            )
        await super().start()
