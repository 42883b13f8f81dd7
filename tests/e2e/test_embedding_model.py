"""Embeddings of a real model: llama.cpp behind the gateway, asked by the official SDK."""

import math
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio

from entroute.embedded.catalogue import find
from entroute.embedded.engine import free_port
from entroute.embedded.weights import Weights, default_directory
from tests.e2e.embedding_server import CONTEXT_LENGTH
from tests.gateway_process import serving, two_tiers
from tests.openai_wire import CheckedTransport

pytestmark = [
    pytest.mark.models,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="session"),
]

MODEL = "qwen2.5-coder-0.5b-instruct"
LENGTH = 896
START_S = 120.0


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a llama.cpp server that embeds, no path."""
    model = find(MODEL)
    assert model is not None
    weights = Weights(default_directory(), lambda *_: None).pull(model)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = tmp_path_factory.mktemp("llamacpp") / "server.log"
    command = [sys.executable, "-m", "tests.e2e.embedding_server", str(weights), MODEL, str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=out, stderr=out
        )
    try:
        wait_for(url, process, log)
        yield url
    finally:
        process.communicate(timeout=30)  # which closes its standard input


def wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < end:
        try:
            if httpx.get(f"{url}/health", timeout=5).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise RuntimeError(f"no embedding server: {log.read_text(errors='replace')[-2000:]}")


@pytest_asyncio.fixture(loop_scope="session")
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=CheckedTransport(), timeout=60) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def sdk(embedder: str, http: httpx.AsyncClient) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client of a gateway before that server, four inputs a call."""
    nobody = f"http://127.0.0.1:{free_port()}"
    tier = {
        "name": "mean",
        "model": MODEL,
        "workers": [{"url": f"{embedder}/v1"}],
        "price": {"prompt": 0.02},
        "max_inputs": 4,
    }
    transport: Any = http  # the SDK's annotations name its own copy of httpx
    async with serving({**two_tiers(nobody, nobody), "embeddings": [tier]}) as url:
        yield openai.AsyncOpenAI(
            base_url=f"{url}/v1", api_key="unused", max_retries=0, http_client=transport
        )


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


TEXTS = [
    "def add(a, b): return a + b",
    "def plus(x, y): return x + y",
    "The spider caught a fly in its web.",
    "A fly was caught in the spider's web.",
    "Interest rates rose by half a percent.",
]


async def test_vectors_of_a_real_model_tell_like_from_unlike(sdk: openai.AsyncOpenAI):
    answer = await sdk.embeddings.create(model="mean", input=TEXTS)  # base64, as the SDK has it
    vectors = [item.embedding for item in answer.data]
    assert [len(vector) for vector in vectors] == [LENGTH] * 5
    assert cosine(vectors[0], vectors[1]) > cosine(vectors[0], vectors[2])
    assert cosine(vectors[2], vectors[3]) > cosine(vectors[2], vectors[4])
    usage = answer.usage.model_dump()
    assert usage["entroute"]["calls"] == 2
    assert usage["prompt_tokens"] == usage["entroute"]["prompt_tokens"] > 5 * 5


async def test_base64_floats_and_batches_agree(sdk: openai.AsyncOpenAI):
    batched = await sdk.embeddings.create(model="mean", input=TEXTS)
    for text, item in zip(TEXTS, batched.data, strict=True):
        alone = await sdk.embeddings.create(model="mean", input=text, encoding_format="float")
        assert cosine(alone.data[0].embedding, item.embedding) > 0.999


async def test_tokens_are_counted_by_the_worker(sdk: openai.AsyncOpenAI):
    answer = await sdk.embeddings.create(model="mean", input=[[9707, 1879], [9707]])
    assert answer.usage.prompt_tokens == 3
    assert len(answer.data) == 2


async def test_a_length_the_model_does_not_make_is_refused(sdk: openai.AsyncOpenAI):
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.embeddings.create(model="mean", input="x", dimensions=10)
    assert refused.value.param == "dimensions"


async def test_an_input_beyond_the_context_is_the_client_s_fault(sdk: openai.AsyncOpenAI):
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.embeddings.create(model="mean", input="word " * (CONTEXT_LENGTH + 100))
    assert refused.value.code == "context_length_exceeded"
