"""One vLLM worker on the CPU and one gateway in front of it, as processes, for the session."""

import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest
import yaml
from openai.types.chat import ChatCompletionChunk

from entroute.embedded.engine import free_port
from entroute.embedded.weights import default_directory
from tests.vllm.environment import Environment, prepare
from tests.vllm.processes import served

MODEL = "qwen-small"
CONTEXT_LENGTH = 2048
VLLM_START_S = 300.0
GATEWAY_START_S = 60.0
VLLM_VARIABLES = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "OMP_NUM_THREADS": "2",
    "VLLM_NO_USAGE_STATS": "1",
}
SERVICE = str(Path(__file__).parents[2] / "service")


@dataclass(frozen=True, slots=True)
class Server:
    """Where requests go in one run of a test.

    Attributes:
        name: direct (to vLLM) or gateway.
        url: Its address, no path.
        worker_url: The address of the vLLM worker that answers in the end.
    """

    name: str
    url: str
    worker_url: str


@pytest.fixture(scope="session")
def environment() -> Environment:
    return prepare(default_directory(), print)


@pytest.fixture(scope="session")
def vllm_url(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a warm vLLM worker, no path."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [environment.python, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", environment.model, "--served-model-name", MODEL]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "bfloat16"]
    command += ["--max-model-len", str(CONTEXT_LENGTH), "--enforce-eager"]
    command += ["--enable-prompt-tokens-details"]
    command += ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"]
    log = tmp_path_factory.mktemp("vllm") / "vllm.log"
    with served(command, VLLM_VARIABLES, probe=f"{url}/health", log=log, within_s=VLLM_START_S):
        warm_up(url)
        yield url


def warm_up(url: str) -> None:
    """Ask once for log-probabilities: vLLM compiles their kernel on first use, up to 15 s."""
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 2,
        "logprobs": True,
        "top_logprobs": 5,
    }
    httpx.post(f"{url}/v1/chat/completions", json=body, timeout=120).raise_for_status()


@pytest.fixture(scope="session")
def gateway_url(vllm_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a gateway whose one tier is that worker, no path."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    folder = tmp_path_factory.mktemp("gateway")
    config = folder / "gateway.yaml"
    write_config(config, port, vllm_url)
    command = [sys.executable, "-m", "entroute", "serve", "--config", str(config)]
    log = folder / "gateway.log"
    with served(
        command, {"PYTHONPATH": SERVICE}, probe=f"{url}/readyz", log=log, within_s=GATEWAY_START_S
    ):
        yield url


def write_config(path: Path, port: int, worker_url: str) -> None:
    tier = {
        "name": "small",
        "model": MODEL,
        "workers": [{"url": f"{worker_url}/v1"}],
        "price": {"prompt": 0.05, "completion": 0.10},
    }
    config = {"server": {"host": "127.0.0.1", "port": port}, "tiers": [tier]}
    path.write_text(yaml.safe_dump(config))


@pytest.fixture(params=["direct", "gateway"])
def server(request: pytest.FixtureRequest, vllm_url: str) -> Server:
    """The worker itself, then the gateway in front of it."""
    url = vllm_url if request.param == "direct" else request.getfixturevalue("gateway_url")
    return Server(request.param, url, vllm_url)


@pytest.fixture
async def client(server: Server) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client, which neither retries nor waits for ever."""
    async with sdk(server.url) as client:
        yield client


def sdk(url: str) -> openai.AsyncOpenAI:
    """Return a client whose every request reaches the worker: the gateway's cache is passed by."""
    return openai.AsyncOpenAI(
        base_url=f"{url}/v1",
        api_key="unused",
        max_retries=0,
        timeout=120.0,
        default_headers={"x-entroute-cache": "bypass"},
    )


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    """Return the text that chunks of a chat add up to."""
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
