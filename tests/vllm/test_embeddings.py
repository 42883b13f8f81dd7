"""Embeddings of a real vLLM behind the gateway, asked by the official SDK."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from entroute.embedded.engine import free_port
from tests.gateway_process import serving
from tests.keys import write_key_file
from tests.openai_wire import CheckedTransport
from tests.vllm.conftest import VLLM_START_S, VLLM_VARIABLES
from tests.vllm.environment import Environment
from tests.vllm.metrics import PROMPTED, page, total
from tests.vllm.processes import served

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(420)]

MODEL = "qwen-embed"
LENGTH = 896
TEXTS = ["def add(a, b): return a + b", "The spider caught a fly.", "x", "x"]


@pytest.fixture(scope="module")
def embedder(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a vLLM server that embeds, no path."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [environment.python, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", environment.model, "--served-model-name", MODEL]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "bfloat16"]
    command += ["--max-model-len", "512", "--enforce-eager"]
    command += ["--runner", "pooling", "--convert", "embed"]
    log = tmp_path_factory.mktemp("vllm") / "vllm.log"
    with served(command, VLLM_VARIABLES, probe=f"{url}/health", log=log, within_s=VLLM_START_S):
        yield url


@pytest.fixture
async def sdk(embedder: str, tmp_path: Path) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client of a gateway with tenants, so that calls carry a salt; two a call."""
    nobody = f"http://127.0.0.1:{free_port()}"
    settings: dict[str, Any] = {
        "tiers": [{"name": "small", "model": "none", "workers": [{"url": f"{nobody}/v1"}]}],
        "embeddings": [
            {
                "name": "mean",
                "model": MODEL,
                "workers": [{"url": f"{embedder}/v1"}],
                "max_inputs": 2,
            }
        ],
        "auth": {
            "keys_file": str(write_key_file(tmp_path / "keys.yaml", {"a-key": {"tenant": "a"}}))
        },
    }
    async with (
        serving(settings) as url,
        httpx.AsyncClient(transport=CheckedTransport(), timeout=120) as http,
    ):
        transport: Any = http  # the SDK's annotations name its own copy of httpx
        yield openai.AsyncOpenAI(
            base_url=f"{url}/v1", api_key="a-key", max_retries=0, http_client=transport
        )


async def test_vectors_and_usage_are_the_worker_s(sdk: openai.AsyncOpenAI, embedder: str) -> None:
    before = total(await page(embedder), PROMPTED)
    packed = await sdk.embeddings.create(model="mean", input=TEXTS)  # base64, as the SDK has it
    counted = total(await page(embedder), PROMPTED) - before
    plain = await sdk.embeddings.create(model="mean", input=TEXTS, encoding_format="float")

    vectors = [item.embedding for item in packed.data]
    assert [len(vector) for vector in vectors] == [LENGTH] * 4
    for one, other in zip(vectors, plain.data, strict=True):
        assert one == pytest.approx(other.embedding, abs=0.02)
    assert vectors[2] == pytest.approx(vectors[3], abs=0.02)
    assert vectors[0] != pytest.approx(vectors[1], abs=0.02)
    assert packed.usage.prompt_tokens == counted > 10
    assert packed.usage.model_dump()["entroute"]["calls"] == 2


async def test_token_lists_are_embedded(sdk: openai.AsyncOpenAI) -> None:
    answer = await sdk.embeddings.create(model="mean", input=[[9707, 1879], [9707]])
    assert answer.usage.prompt_tokens == 3
    assert [len(item.embedding) for item in answer.data] == [LENGTH] * 2


async def test_too_long_an_input_is_told_before_it_is_sent(
    sdk: openai.AsyncOpenAI, embedder: str
) -> None:
    before = total(await page(embedder), PROMPTED)
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.embeddings.create(model="mean", input=[[9707] * 600])
    assert refused.value.code == "context_length_exceeded"
    assert total(await page(embedder), PROMPTED) == before
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.embeddings.create(model="mean", input="word " * 600)
    assert refused.value.code == "context_length_exceeded"


async def test_a_length_the_model_cannot_make_is_refused(sdk: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.embeddings.create(model="mean", input="x", dimensions=10)
    assert refused.value.param in {"dimensions", None}
