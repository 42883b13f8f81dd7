"""Prefix affinity before two real vLLM workers whose caches hold half of what is asked."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from random import Random

import pytest

from entroute.embedded.engine import free_port
from loadtest.conversations import Workload
from loadtest.prefix_affinity import Measured, measure
from tests.vllm.conftest import CONTEXT_LENGTH, MODEL, VLLM_START_S
from tests.vllm.environment import Environment
from tests.vllm.processes import served

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]

WORKLOAD = Workload(conversations=12, turns=3, words=(150, 300), max_tokens=6, concurrency=2)
BLOCK_TOKENS = 32  # the smallest that vLLM has on a CPU
BLOCKS = 90  # of about 150 that all conversations fill
VARIABLES = {"VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1", "VLLM_NO_USAGE_STATS": "1"}
"""Two workers share the machine: none may bind itself to a core of its own."""


@pytest.fixture(scope="module")
def workers(
    environment: Environment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """Addresses of two vLLM workers with small caches, no path."""
    folder = tmp_path_factory.mktemp("workers")
    with ExitStack() as stack:
        urls = []
        for number in range(2):
            port = free_port()
            url = f"http://127.0.0.1:{port}"
            command = [environment.python, "-m", "vllm.entrypoints.openai.api_server"]
            command += ["--model", environment.model, "--served-model-name", MODEL]
            command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "bfloat16"]
            command += ["--max-model-len", str(CONTEXT_LENGTH), "--enforce-eager"]
            command += ["--block-size", str(BLOCK_TOKENS)]
            command += ["--num-gpu-blocks-override", str(BLOCKS)]
            log = folder / f"{number}.log"
            variables = {**VARIABLES, "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
            probe = f"{url}/health"
            stack.enter_context(
                served(command, variables, probe=probe, log=log, within_s=VLLM_START_S)
            )
            urls.append(url)
        yield urls[0], urls[1]


@pytest.fixture(scope="module")
def measured(workers: tuple[str, str]) -> dict[str, Measured]:
    """What the workers counted under each balancer."""
    return {
        arm: asyncio.run(measure(arm, workers, MODEL, WORKLOAD, seeded(arm)))
        for arm in ("prefix_affinity", "round_robin")
    }


def seeded(arm: str) -> Random:
    """Return what draws an arm's texts: no other arm's."""
    return Random(f"7 {arm}")  # noqa: S311 - texts, no secrets


def test_workers_find_more_in_their_caches_than_if_they_took_turns(
    measured: dict[str, Measured],
) -> None:
    affinity, turns = measured["prefix_affinity"], measured["round_robin"]
    assert affinity.heard.errors == turns.heard.errors == 0
    # Two of three turns can be found but for what is new in them; in turns half of that is
    # elsewhere, and much of the rest has been dropped to make room.
    assert affinity.hit_share > 0.35
    assert affinity.hit_share > turns.hit_share + 0.15


def test_no_worker_is_left_idle(measured: dict[str, Measured]) -> None:
    assert measured["prefix_affinity"].imbalance < 1.6
