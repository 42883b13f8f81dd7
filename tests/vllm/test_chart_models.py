"""What the chart's init container fetched is what a server finds that asks no hub."""

import subprocess
from pathlib import Path

import pytest

from tests.deploy.hub import COMMIT, hub
from tests.vllm.environment import Environment

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(420)]

PROGRAM = Path(__file__).parents[2] / "helm/entroute/files/models/download.py"
MODEL = "org/small"
FILES = {"config.json": b"{}", "model.safetensors": b"weights"}
RESOLVE = """
import sys
from vllm.transformers_utils.repo_utils import get_model_path
print(get_model_path(sys.argv[1], sys.argv[2] or None))
"""


def run(environment: Environment, home: Path, words: list[str], **more: str) -> str:
    """Run a program with vLLM's own interpreter and libraries."""
    variables = {"HF_HOME": str(home), "HOME": str(home), "PATH": "/usr/bin:/bin", **more}
    command = [environment.python, "-c", *words]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("revision", ["", COMMIT])
def test_an_offline_server_finds_the_model_that_was_fetched(
    environment: Environment, tmp_path: Path, revision: str
) -> None:
    fetch = [PROGRAM.read_text(encoding="utf-8"), MODEL, revision or "main", "*.pth"]
    with hub(MODEL, FILES) as there:
        run(environment, tmp_path, fetch, HF_ENDPOINT=there.url, NO_PROXY="127.0.0.1")

    found = run(environment, tmp_path, [RESOLVE, MODEL, revision], HF_HUB_OFFLINE="1")

    folder = Path(found.strip().splitlines()[-1])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
