"""GPUs and models as far as the time of a forward pass depends on them."""

from collections.abc import Mapping
from dataclasses import dataclass

USABLE = 0.9
"""Share of a GPU's memory that vLLM takes: its default `gpu_memory_utilization`."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU.

    Attributes:
        memory_bytes: Of its memory.
        bytes_per_s: Bandwidth of it.
        flops: Dense 16-bit operations a second at peak.
        usable: Share of the memory for weights and KV cache.

    Source: NVIDIA's data sheets of A100 80GB SXM, H100 SXM and A40.
    """

    memory_bytes: float
    bytes_per_s: float
    flops: float
    usable: float = USABLE


@dataclass(frozen=True, slots=True)
class Model:
    """One model in 16 bits.

    Attributes:
        layers: Of it.
        heads: Query heads a layer.
        kv_heads: Heads of keys and values a layer.
        head_size: Numbers in one head.
        parameters: Of it.

    Source: `config.json` of the models' repositories.
    """

    layers: int
    heads: int
    kv_heads: int
    parameters: float
    head_size: int = 128

    @property
    def kv_bytes(self) -> int:
        """Bytes of keys and values a token, over all layers."""
        return 2 * self.layers * self.kv_heads * self.head_size * 2

    @property
    def weight_bytes(self) -> float:
        """Bytes of its weights."""
        return 2 * self.parameters


GPUS: Mapping[str, Gpu] = {
    "a40": Gpu(48e9, 0.696e12, 149.7e12),
    "a100": Gpu(80e9, 2.039e12, 312e12),
    "h100": Gpu(80e9, 3.35e12, 989e12),
}
"""By the names that the table of forward times has."""

MODELS: Mapping[str, Model] = {
    "Llama-2-7b-hf": Model(32, 32, 32, 6.74e9),
    "Llama-2-70b-hf": Model(80, 64, 8, 68.98e9),
    "Meta-Llama-3-8B": Model(32, 32, 8, 8.03e9),
    "Meta-Llama-3-70B": Model(80, 64, 8, 70.55e9),
}
"""Likewise."""
