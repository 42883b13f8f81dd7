import asyncio
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from openai import AsyncOpenAI

from entroute.embedded.catalogue import find
from entroute.embedded.engine import Engine
from entroute.embedded.llamacpp import LlamaCppEngine, threads_for
from entroute.embedded.llamacpp_server import configure
from entroute.embedded.weights import Weights, default_directory
from entroute.errors import EngineError, WeightsError


def ignore(model: str, held: int, total: int) -> None:
    """Take a report and do nothing."""


def engine_for(gguf: Path) -> LlamaCppEngine:
    return LlamaCppEngine(
        "tiny", gguf, threads=1, slots=2, context_length=2048, startup_timeout_s=60
    )


@pytest.mark.parametrize(
    ("engines", "cores", "threads"), [(1, 8, 8), (2, 8, 4), (2, 2, 1), (2, 1, 1), (3, 8, 2)]
)
def test_engines_share_the_cores(engines: int, cores: int, threads: int) -> None:
    assert threads_for(engines, cores) == threads


def test_every_slot_gets_the_whole_context_length() -> None:
    options = Namespace(
        model="m.gguf", name="tiny", port=1, threads=3, slots=4, context_length=2048
    )
    params = SimpleNamespace(
        model=SimpleNamespace(), cpuparams=SimpleNamespace(), cpuparams_batch=SimpleNamespace()
    )

    configure(params, options)

    assert (params.n_ctx, params.n_parallel) == (8192, 4)
    assert (params.cpuparams.n_threads, params.cpuparams_batch.n_threads) == (3, 3)
    assert params.model.path == "m.gguf"
    assert params.model_alias == {"tiny"}


async def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no such file .*absent\.gguf"):
        await engine_for(tmp_path / "absent.gguf").start()


async def test_a_file_that_is_no_model_shows_llamacpps_reason(tmp_path: Path) -> None:
    gguf = tmp_path / "broken.gguf"
    gguf.write_bytes(b"not a model")

    with pytest.raises(EngineError, match=r"(?s)failed to load model.*broken"):
        await engine_for(gguf).start()


def test_without_xllamacpp_the_server_says_what_to_install() -> None:
    options = ("--model=m", "--name=n", "--port=1", "--threads=1", "--slots=1")
    script = (
        "import sys; sys.modules['xllamacpp'] = None;"
        "from entroute.embedded.llamacpp_server import main; main(sys.argv[1:])"
    )

    result = subprocess.run(
        [sys.executable, "-c", script, *options, "--context-length=64"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 1
    assert "install entroute[llamacpp]" in result.stderr


@pytest.mark.models
@pytest.mark.timeout(600)
async def test_a_real_model_streams_log_probabilities() -> None:
    model = find("smollm2-135m-instruct")
    assert model is not None
    weights = Weights(default_directory(), ignore)
    engine: Engine = engine_for(await asyncio.to_thread(weights.pull, model))
    await engine.start()
    try:
        async with AsyncOpenAI(base_url=engine.url, api_key="none") as client:
            assert [served.id async for served in await client.models.list()] == ["tiny"]
            stream = await client.chat.completions.create(
                model="tiny",
                messages=[{"role": "user", "content": "Say hello."}],
                max_tokens=8,
                temperature=0,
                stream=True,
                stream_options={"include_usage": True},
                logprobs=True,
                top_logprobs=3,
            )
            chunks = [chunk async for chunk in stream]
        tokens = [
            entry
            for chunk in chunks
            for choice in chunk.choices
            if choice.logprobs
            for entry in choice.logprobs.content or []
        ]
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == len(tokens) > 0
        assert all(token.logprob <= 0 and len(token.top_logprobs) == 3 for token in tokens)
        await an_abandoned_stream_stops_decoding(engine.url)
    finally:
        await engine.stop()
    assert not engine.running


async def an_abandoned_stream_stops_decoding(url: str) -> None:
    body = {
        "messages": [{"role": "user", "content": "Count."}],
        "max_tokens": 1500,
        "ignore_eos": True,
        "stream": True,
    }
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        async with client.stream("POST", f"{url}/chat/completions", json=body) as response:
            await anext(response.aiter_bytes())
        metrics = f"{url.removesuffix('/v1')}/metrics"
        async with asyncio.timeout(5):
            while "requests_processing 0" not in (await client.get(metrics)).text:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        decoded = await client.get(metrics)
    counts = dict(line.split() for line in decoded.text.splitlines() if line[0] != "#")
    assert float(counts["llamacpp:tokens_predicted_total"]) < 1000
