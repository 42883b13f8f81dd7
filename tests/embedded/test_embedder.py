"""The embedding model on this machine's CPU."""

import asyncio
import sys
from pathlib import Path

import numpy as np
import pytest

from entroute.embedded.embedder import (
    MAX_TOKENS,
    LocalEmbedder,
    local_files,
    require_extra,
)
from entroute.errors import ConfigurationError, WeightsError

pytestmark = pytest.mark.timeout(600)  # the model may have to be fetched


def real() -> LocalEmbedder:
    return LocalEmbedder(lambda: local_files(lambda *_: None))


@pytest.mark.models
async def test_texts_become_unit_vectors_and_alike_texts_alike_ones() -> None:
    embedder = real()
    await embedder.start()
    egg, again, fuji = await embedder.embed(
        ["How do I boil an egg?", "how can I boil eggs", "How tall is Mount Fuji?"]
    )
    await embedder.close()
    assert egg is not None
    assert again is not None
    assert fuji is not None
    assert egg.dtype == np.float32
    assert egg.shape == (embedder.dimensions,)
    assert np.linalg.norm(egg) == pytest.approx(1, abs=1e-5)
    assert egg @ again > 0.9
    assert egg @ fuji < 0.3


@pytest.mark.models
async def test_a_text_has_the_same_vector_alone_and_in_a_batch() -> None:
    embedder = real()
    texts = [f"{'very ' * number}long question number {number}?" for number in range(40)]
    batch = await embedder.embed(texts)
    (alone,) = await embedder.embed([texts[7]])
    await embedder.close()
    assert alone is not None
    assert batch[7] is not None
    assert alone @ batch[7] == pytest.approx(1, abs=1e-3)


@pytest.mark.models
async def test_a_text_that_the_model_cannot_read_whole_has_no_vector() -> None:
    embedder = real()
    fits, too_long = await embedder.embed(["a " * (MAX_TOKENS - 2), "a " * (MAX_TOKENS - 1)])
    await embedder.close()
    assert fits is not None
    assert too_long is None


@pytest.mark.models
async def test_the_loop_goes_on_while_the_model_works() -> None:
    embedder = real()
    await embedder.start()
    work = asyncio.create_task(embedder.embed(["a question of some length?"] * 64))
    turns = 0
    while not work.done():
        await asyncio.sleep(0)
        turns += 1
    await embedder.close()
    assert turns > 100


async def test_files_that_cannot_be_had_are_told_at_the_start() -> None:
    def missing() -> tuple[Path, Path]:
        raise WeightsError("no source")

    embedder = LocalEmbedder(missing)
    with pytest.raises(WeightsError, match="no source"):
        await embedder.start()
    await embedder.close()


def test_a_missing_extra_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    require_extra()
    monkeypatch.setattr("sys.path", [])
    monkeypatch.delitem(sys.modules, "tokenizers", raising=False)
    with pytest.raises(ConfigurationError, match=r"cache\.semantic\.enabled: needs .*tokenizers"):
        require_extra()
