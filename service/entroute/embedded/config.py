"""What a tier's `engine` may be: one configuration an engine, each builds its own."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from entroute.embedded.engine import Engine
from entroute.embedded.llamacpp import LlamaCppEngine, threads_for
from entroute.embedded.vllm import VllmEngine


class LlamaCppConfig(BaseModel):
    """llama.cpp's server for one GGUF file, on the CPU."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["llamacpp"] = "llamacpp"
    gguf: str = Field(min_length=1, description="Path of a .gguf file, or a catalogue name.")
    threads: int | None = Field(
        default=None, ge=1, description="Threads; a fair share of the cores when left out."
    )
    slots: int = Field(default=4, ge=1, le=256, description="Requests answered side by side.")
    context_length: int = Field(default=4096, ge=256, description="Tokens a slot can hold.")
    port: int = Field(default=0, ge=0, le=65535, description="Loopback port, 0 for a free one.")

    def build(self, model: str, engines: int, resolve: Callable[[str], Path]) -> Engine:
        """Return the engine; `resolve` turns `gguf` into a path, fetching a catalogue model.

        Raises:
            WeightsError: The weights are neither a file nor a catalogue name, or cannot be had.
        """
        return LlamaCppEngine(
            model,
            resolve(self.gguf),
            threads=self.threads or threads_for(engines, os.cpu_count() or 1),
            slots=self.slots,
            context_length=self.context_length,
            port=self.port,
        )


class VllmConfig(BaseModel):
    """A vLLM server on this machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["vllm"] = "vllm"
    model: str = Field(min_length=1, description="Model folder or hub name.")
    args: tuple[str, ...] = Field(default=(), description="More arguments for the vLLM server.")
    python: str | None = Field(
        default=None, description="Interpreter of the environment that holds vLLM."
    )
    port: int = Field(default=0, ge=0, le=65535, description="Loopback port, 0 for a free one.")

    @field_validator("args")
    @classmethod
    def _no_secrets(cls, args: tuple[str, ...]) -> tuple[str, ...]:
        for arg in args:
            if arg.split("=")[0].replace("_", "-") in {"--api-key", "--hf-token"}:
                raise ValueError(
                    "must hold no keys: the engine listens on loopback only, and the hub's token "
                    "is read from the environment variable HF_TOKEN"
                )
        return args

    @property
    def context_length(self) -> int | None:
        """Unknown until the server tells it."""
        return None

    def build(self, model: str, engines: int, resolve: Callable[[str], Path]) -> Engine:
        """Return the engine; it fetches its own weights."""
        python = None if self.python is None else Path(self.python)
        return VllmEngine(model, self.model, args=self.args, python=python, port=self.port)


EngineConfig = Annotated[LlamaCppConfig | VllmConfig, Field(discriminator="kind")]
