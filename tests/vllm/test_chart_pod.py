"""A real vLLM in what the chart gives its pods: no root, no name, files that cannot be written."""

import json
import os
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from entroute.embedded.engine import free_port
from entroute.sandbox.command import find_bwrap
from tests.vllm import pod
from tests.vllm.conftest import VLLM_START_S, VLLM_VARIABLES
from tests.vllm.environment import Environment
from tests.vllm.processes import served

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]

TOKENS = 400


def boxed(environment: Environment, port: int) -> list[str]:
    """Return the command of a server in a box that is like the pod's container."""
    box = [str(find_bwrap(None)), "--unshare-user", "--uid", str(pod.USER), "--gid", str(pod.GROUP)]
    for folder in Path("/").iterdir():
        if folder.is_symlink():
            box += ["--symlink", str(folder.readlink()), str(folder)]
        elif f"{folder}" not in {"/dev", "/home", "/models", "/proc", "/tmp"}:  # noqa: S108
            box += ["--ro-bind", str(folder), str(folder)]
    box += ["--dev", "/dev", "--proc", "/proc"]
    for emptied in pod.WRITABLE:
        box += ["--tmpfs", emptied]
    box += ["--remount-ro", "/", "--chdir", pod.ENVIRONMENT["HOME"], "--clearenv"]
    for name, value in {**pod.ENVIRONMENT, **VLLM_VARIABLES}.items():
        box += ["--setenv", name, value]
    server = [environment.python, "-m", "vllm.entrypoints.openai.api_server"]
    server += ["--model", environment.model, f"--port={port}", *pod.OPTIONS]
    # Of this machine, not of the chart: a CPU.
    return [
        *box,
        "--setenv",
        "PATH",
        "/usr/bin:/bin",
        *server,
        "--dtype=bfloat16",
        "--enforce-eager",
    ]


def inside(process: subprocess.Popen[bytes]) -> int:
    """Return the id of the process that the box was made for."""
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(child)


def test_it_serves_in_its_pod_and_ends_what_it_generates_when_it_is_stopped(
    environment: Environment, tmp_path: Path
) -> None:
    body = {
        "model": pod.SERVED,
        "messages": [{"role": "user", "content": "Count from 1 upwards."}],
        "max_tokens": TOKENS,
        "ignore_eos": True,
        "stream": True,
    }
    port = free_port()
    url, log = f"http://127.0.0.1:{port}", tmp_path / "vllm.log"
    command = boxed(environment, port)
    with served(command, {}, probe=f"{url}/health", log=log, within_s=VLLM_START_S) as process:
        chunks = []
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=120) as stream:
            assert stream.status_code == 200
            for line in stream.iter_lines():
                if line.startswith("data: {"):
                    chunks.append(json.loads(line.removeprefix("data: ")))
                if len(chunks) == 5:
                    os.kill(inside(process), signal.SIGTERM)
        # Usage is told although nobody asked: the gateway's clients may be past it.
        assert chunks[-1]["usage"]["completion_tokens"] == TOKENS
        reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
        assert reasons[-1] == "length"
        process.wait(timeout=pod.DRAIN_S)
