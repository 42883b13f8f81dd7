"""Texts as vectors by a small sentence encoder on this machine's CPU.

The encoder is all-MiniLM-L6-v2 (Sentence-Transformers), its weights in 8 bits: mean of the last
layer over a text's tokens, made a unit vector. Needs the extra `semantic`.

Source: Reimers and Gurevych, Sentence-BERT (2019), section 3, pooling MEAN; Wang et al., MiniLM
(2020).
"""

import asyncio
import importlib.util
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entroute.embedded.catalogue import CatalogueModel, find
from entroute.embedded.weights import Weights, default_directory
from entroute.errors import ConfigurationError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]

MODEL = "all-minilm-l6-v2-int8"
TOKENIZER = "all-minilm-l6-v2-tokenizer"
MAX_TOKENS = 256
"""Tokens the model was trained to read, its two marks of begin and end included."""

BATCH = 32
_MODULES = ("numpy", "onnxruntime", "tokenizers")


def require_extra() -> None:
    """Do nothing where the extra `semantic` is installed.

    Raises:
        ConfigurationError: It is not.
    """
    missing = [name for name in _MODULES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"cache.semantic.enabled: needs {', '.join(missing)}: "
            "pip install 'entroute[semantic]', or set it to false"
        )


class LocalEmbedder:
    """Embeds texts in a worker thread, one batch after the other.

    Args:
        files: Returns the model's and the tokenizer's file, fetched when absent; may block.
        threads: Threads of one batch.

    Attributes:
        name: Tells vectors of different models apart.
        dimensions: Numbers in a vector.
    """

    name = MODEL
    dimensions = 384

    def __init__(self, files: Callable[[], tuple[Path, Path]], threads: int = 1) -> None:
        self._files = files
        self._threads = threads
        self._encoder: _Encoder | None = None
        self._executor = ThreadPoolExecutor(1, "entroute-embedder")

    async def start(self) -> None:
        """Load the model, fetching it when it is absent.

        Raises:
            WeightsError: It cannot be had.
        """
        await asyncio.get_running_loop().run_in_executor(self._executor, self._load)

    async def embed(self, texts: Sequence[str]) -> "list[Vector | None]":
        """Return a unit vector of each text, None for a text of more than `MAX_TOKENS` tokens."""
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, lambda: self._load().embed(texts)
        )

    async def close(self) -> None:
        """Let the worker thread end; what waits for it is not embedded any more."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _load(self) -> "_Encoder":
        if self._encoder is None:
            self._encoder = _Encoder(*self._files(), self._threads)
        return self._encoder


def local_files(progress: Callable[[str, int, int], None]) -> tuple[Path, Path]:
    """Return the model's and the tokenizer's file from the models folder, pulled when absent.

    Raises:
        WeightsError: They cannot be had.
    """
    weights = Weights(default_directory(), progress)
    return weights.pull(_known(MODEL)), weights.pull(_known(TOKENIZER))


def _known(name: str) -> CatalogueModel:
    model = find(name)
    if model is None:
        raise ConfigurationError(f"no model is named {name}")
    return model


class _Encoder:
    """The loaded model; used by one thread at a time."""

    def __init__(self, model: Path, tokenizer: Path, threads: int) -> None:
        # Imported here: the extra is optional, and importing takes a quarter of a second.
        import onnxruntime  # noqa: PLC0415
        from tokenizers import Tokenizer  # noqa: PLC0415

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def embed(self, texts: Sequence[str]) -> "list[Vector | None]":
        """Return a unit vector a text, None for texts that are too long."""
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        found: list[Vector | None] = [None] * len(tokens)
        # Alike in length together: a batch is as long as its longest text.
        fit = sorted((len(ids), at) for at, ids in enumerate(tokens) if len(ids) <= MAX_TOKENS)
        for start in range(0, len(fit), BATCH):
            places = [at for _, at in fit[start : start + BATCH]]
            vectors = self._run([tokens[at] for at in places])
            for at, vector in zip(places, vectors, strict=True):
                found[at] = vector
        return found

    def _run(self, batch: Sequence[Sequence[int]]) -> "list[Vector]":
        import numpy as np  # noqa: PLC0415

        ids = np.zeros((len(batch), max(map(len, batch))), np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        (hidden,) = self._session.run(None, inputs)
        mean = (hidden * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        unit = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        return list(unit.astype(np.float32))
