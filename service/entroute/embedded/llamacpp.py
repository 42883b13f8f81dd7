"""llama.cpp's server on the CPU, for machines without a GPU: one GGUF file, a few slots."""

import importlib.util
import sys
from pathlib import Path

from entroute.embedded.engine import free_port
from entroute.embedded.process import EngineProcess, ProcessSpec
from entroute.errors import EngineError, WeightsError


def threads_for(engines: int, cores: int) -> int:
    """Return the threads of each engine when all of them are busy at once, at least 1.

    llama.cpp's threads spin at every layer while they wait for each other: more of them than cores
    make two busy engines several times slower.

    Args:
        engines: Engines on this machine, at least 1.
        cores: Cores that they share, at least 1.
    """
    return max(1, cores // engines)


class LlamaCppEngine(EngineProcess):
    """A llama.cpp server for one GGUF file.

    Args:
        name: Served model id.
        gguf: The weights.
        threads: Threads that compute.
        slots: Requests that run at the same time; others wait in the server.
        context_length: Tokens of prompt and answer that each slot holds.
        port: Loopback port, 0 to have a free one chosen.
        startup_timeout_s: Seconds within which it must answer.
    """

    def __init__(  # noqa: PLR0913  keywords, each a setting of its own
        self,
        name: str,
        gguf: Path,
        *,
        threads: int,
        slots: int,
        context_length: int,
        port: int = 0,
        startup_timeout_s: float = 120.0,
    ) -> None:
        self._gguf = gguf
        port = port or free_port()
        command = (
            *(sys.executable, "-P", "-m", "entroute.embedded.llamacpp_server"),
            *("--model", str(gguf), "--name", name, "--port", str(port)),
            *("--threads", str(threads), "--slots", str(slots)),
            *("--context-length", str(context_length)),
        )
        spec = ProcessSpec(name, command, port, startup_timeout_s=startup_timeout_s)
        super().__init__(spec)

    async def start(self) -> None:
        """Return once the model is loaded and the server answers.

        Raises:
            WeightsError: The GGUF file does not exist.
            EngineError: `xllamacpp` is not installed, or the server did not come up.
        """
        if not self._gguf.is_file():
            raise WeightsError(
                f"{self.name}: no such file {self._gguf}: give gguf the path of a .gguf file, "
                "or the name of a catalogue model to have it fetched"
            )
        if importlib.util.find_spec("xllamacpp") is None:
            raise EngineError(
                f"{self.name}: xllamacpp is not installed: install entroute[llamacpp]"
            )
        await super().start()
