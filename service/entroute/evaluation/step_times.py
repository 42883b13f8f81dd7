"""How long one step of a worker takes: measured forward times, or the idealised runtime.

A step of a worker that batches continuously reads some prompt tokens and makes one token for each
answer that it is writing.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Protocol, Self

from entroute.errors import ConfigurationError
from entroute.evaluation.hardware import GPUS, MODELS, Gpu, Model
from entroute.evaluation.tables import read_table

OVERHEAD_S = 0.002
"""Seconds of a step that are no forward time: scheduling, sampling, detokenising. An assumption."""

BANDWIDTH_SHARE = 0.8
"""Share of the memory's bandwidth that attention reaches while it reads the KV cache. Likewise."""

FLOPS_SHARE = 0.6
"""Share of the peak that attention reaches over a prompt: 50 to 73% on an A100 (2307.08691)."""

_COLUMNS = ("gpu", "model", "tp", "num_tokens", "linear_ms_per_forward")

LINK_BYTES_PER_S = 2.0e11
LINK_LATENCY_S = 1.0e-5
"""Of one all-reduce between GPUs of one host; assumptions, the table has none."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a worker does at once.

    Attributes:
        reading: Prompt tokens.
        writing: Answers that get one token each.
        context: KV entries that these look at, in tokens, all together.
        pairs: Pairs of a prompt token and a token before it, over the prompts being read.
    """

    reading: int = 0
    writing: int = 0
    context: float = 0.0
    pairs: float = 0.0


class StepTimes(Protocol):
    """How long a step takes."""

    def seconds(self, step: Step, /) -> float:
        """Return the seconds of one step, above 0."""
        ...

    @property
    def context_s(self) -> float:
        """Seconds that one more KV entry to look at takes, 0 or more."""
        ...


@dataclass(frozen=True, slots=True)
class IdealisedSteps:
    """Steps of a worker of which only an idealised runtime is known.

    Alone, an answer of o tokens to a prompt of p takes p prompt_s + (o - 1) token_s.

    Attributes:
        prompt_s: Worker seconds for a prompt token, 0 or more.
        token_s: Seconds between two tokens of one stream in a full batch, above 0.

    Source: T(p, o) = T_prompt(p) + (o - 1) beta of 2305.02440.
    """

    prompt_s: float
    token_s: float

    def seconds(self, step: Step, /) -> float:
        """Return the seconds of one step. See `StepTimes.seconds`."""
        return step.reading * self.prompt_s + (self.token_s if step.writing else 0.0)

    @property
    def context_s(self) -> float:
        """See `StepTimes.context_s`."""
        return 0.0


@dataclass(frozen=True, slots=True)
class ForwardSteps:
    """Steps by measured forward times, to which attention and what is around it is added.

    Attributes:
        tokens: Tokens in one forward pass, rising.
        linear_s: Seconds of everything but attention, for each of them.
        gpu: What it runs on.
        model: What runs.
        tensor_parallel: GPUs of one worker.
        overhead_s: Seconds of a step beside the forward pass.
    """

    tokens: tuple[int, ...]
    linear_s: tuple[float, ...]
    gpu: Gpu
    model: Model
    tensor_parallel: int
    overhead_s: float = OVERHEAD_S

    def seconds(self, step: Step, /) -> float:
        """Return the seconds of one step. See `StepTimes.seconds`."""
        tokens = step.reading + step.writing
        attention = step.context * self.context_s + step.pairs * self.pair_s
        return self._linear(tokens) + attention + self._reducing(tokens) + self.overhead_s

    @property
    def context_s(self) -> float:
        """See `StepTimes.context_s`: bytes of keys and values over the memory's bandwidth."""
        bandwidth = self.tensor_parallel * self.gpu.bytes_per_s * BANDWIDTH_SHARE
        return self.model.kv_bytes / bandwidth

    @property
    def pair_s(self) -> float:
        """Seconds for a pair of tokens: two products of 2 d operations for each head and layer."""
        operations = 4 * self.model.heads * self.model.head_size * self.model.layers
        return operations / (self.tensor_parallel * self.gpu.flops * FLOPS_SHARE)

    @property
    def kv_tokens(self) -> int:
        """Tokens that the KV cache of one worker holds: what the weights leave of the memory."""
        memory = self.tensor_parallel * self.gpu.memory_bytes * self.gpu.usable
        return int((memory - self.model.weight_bytes) / self.model.kv_bytes)

    def _reducing(self, tokens: int) -> float:
        """Return the seconds of two all-reduces a layer, in a ring (2 (n - 1) / n of the data)."""
        gpus = self.tensor_parallel
        if gpus == 1:
            return 0.0
        data = tokens * self.model.heads * self.model.head_size * 2 * 2 * (gpus - 1) / gpus
        return 2 * self.model.layers * (LINK_LATENCY_S + data / LINK_BYTES_PER_S)

    def _linear(self, tokens: int) -> float:
        """Return the measured seconds, interpolated; beyond the table in proportion to tokens."""
        place = bisect_left(self.tokens, tokens)
        if place == len(self.tokens):
            return self.linear_s[-1] * tokens / self.tokens[-1]
        if place == 0 or self.tokens[place] == tokens:
            return self.linear_s[place]
        low, high = self.tokens[place - 1], self.tokens[place]
        share = (tokens - low) / (high - low)
        return self.linear_s[place - 1] * (1 - share) + self.linear_s[place] * share

    @classmethod
    def read(
        cls, path: Path, gpu: str, model: str, tensor_parallel: int, overhead_s: float = OVERHEAD_S
    ) -> Self:
        """Read the rows of one GPU, model and tensor parallelism.

        Args:
            path: CSV with gpu, model, tp, num_tokens and linear_ms_per_forward; may be gzipped.
            gpu: As the table has it.
            model: Likewise.
            tensor_parallel: GPUs of one worker.
            overhead_s: Seconds of a step beside the forward pass.

        Raises:
            ConfigurationError: The file cannot be read, holds no such rows, or one is wrong.
        """
        rows = sorted(_rows(path, gpu, model, tensor_parallel))
        known = GPUS.get(gpu), MODELS.get(model)
        if not rows or known[0] is None or known[1] is None:
            raise ConfigurationError(
                f"{path}: nothing for gpu {gpu}, model {model}, tensor_parallel {tensor_parallel}"
            )
        tokens, linear_s = zip(*rows, strict=True)
        found = cls(tokens, linear_s, known[0], known[1], tensor_parallel, overhead_s)
        if found.kv_tokens < 1:
            raise ConfigurationError(
                f"{model} does not fit into {tensor_parallel} {gpu}: raise tensor_parallel"
            )
        return found


def _rows(path: Path, gpu: str, model: str, tensor_parallel: int) -> Sequence[tuple[int, float]]:
    wanted = (gpu, model, str(tensor_parallel))
    return [
        _time(place, row)
        for place, row in read_table(path, _COLUMNS)
        if (row["gpu"], row["model"], row["tp"]) == wanted
    ]


def _time(place: str, row: Mapping[str, str]) -> tuple[int, float]:
    try:
        tokens, milliseconds = int(row["num_tokens"]), float(row["linear_ms_per_forward"])
    except (TypeError, ValueError):
        tokens = milliseconds = 0
    if not (tokens > 0 and 0 < milliseconds < inf):
        raise ConfigurationError(
            f"{place}: num_tokens and linear_ms_per_forward must be numbers above 0"
        )
    return tokens, milliseconds / 1e3
