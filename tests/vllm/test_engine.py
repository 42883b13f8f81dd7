"""A gateway that owns its vLLM worker: it starts it, answers with it and ends it."""

import sys
from pathlib import Path

import pytest
import yaml

from entroute.embedded.engine import free_port, is_port_free
from tests.vllm.conftest import MODEL, SERVICE, VLLM_START_S, VLLM_VARIABLES, sdk
from tests.vllm.environment import Environment
from tests.vllm.processes import served

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(420)]


async def test_a_tier_can_own_a_vllm_that_ends_with_the_gateway(
    environment: Environment, tmp_path: Path
) -> None:
    port, engine_port = free_port(), free_port()
    engine = {
        "kind": "vllm",
        "model": environment.model,
        "python": environment.python,
        "port": engine_port,
        "args": ["--max-model-len", "1024", "--dtype", "bfloat16", "--enforce-eager"],
    }
    config = tmp_path / "gateway.yaml"
    tiers = [{"name": "small", "model": MODEL, "engine": engine}]
    config.write_text(yaml.safe_dump({"server": {"port": port}, "tiers": tiers}))
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "entroute", "serve", "--config", str(config)]
    variables = {"PYTHONPATH": SERVICE, **VLLM_VARIABLES}
    log = tmp_path / "gateway.log"

    with served(command, variables, probe=f"{url}/readyz", log=log, within_s=VLLM_START_S):
        assert not is_port_free(engine_port)
        async with sdk(url) as client:
            answer = await client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "Say hi."}], max_tokens=5
            )

    assert answer.choices[0].message.content
    assert is_port_free(engine_port)
