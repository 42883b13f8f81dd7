"""The options of vLLM that the chart writes, asked of a real vLLM."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.vllm.environment import Environment

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(420)]

CAPTURED = Path(__file__).with_name("options_0_32.txt")
TEMPLATES = Path(__file__).parents[2] / "helm/entroute/templates/tiers"
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")


def options(environment: Environment) -> set[str]:
    """Return the options that the server knows."""
    command = [environment.python, "-m", "vllm.entrypoints.openai.api_server", "--help=all"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(OPTION.findall(done.stdout))


def test_the_captured_options_are_the_real_ones(environment: Environment) -> None:
    assert set(CAPTURED.read_text(encoding="utf-8").split()) == options(environment)


def test_every_option_that_the_chart_writes_is_known(environment: Environment) -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in TEMPLATES.glob("*.tpl"))
    written = set(OPTION.findall(text))
    assert len(written) > 10
    assert written <= options(environment)
