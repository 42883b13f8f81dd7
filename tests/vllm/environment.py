"""Make the vLLM environment and the model folder that `tests/vllm` runs against.

    python -m tests.vllm.environment

Both live in the user's cache and are made once: a stamp holds the digest of what they were made
from, so a second run is instant and a changed recipe starts anew. The last line printed is one
JSON object: `python` (an interpreter that can start vLLM) and `model` (a folder vLLM loads).

Knows nothing of servers or tests.
"""

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from entroute.embedded.catalogue import CatalogueModel, find
from entroute.embedded.weights import Weights, default_directory
from tests.made_once import GB, Say, digest, made_once

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"
CONVERT = HERE / "convert.py"
MODEL = "qwen2.5-coder-0.5b-instruct"

REMOVED = ("torchvision", "torchaudio", "torchcodec", "triton")
"""Built for GPUs; `import transformers` fails on a CPU while they are there."""

VENV_BYTES = 5 * GB
"""The environment is 3.5 GB; pip unpacks beside it."""
MODEL_BYTES = 2 * GB
"""GGUF 0.5 GB, bfloat16 folder 1.3 GB."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What a vLLM server needs on this machine.

    Attributes:
        python: Interpreter that has vLLM.
        model: Folder of weights, tokenizer and chat template.
    """

    python: str
    model: str


def make_venv(folder: Path) -> None:
    """Create a virtual environment with the pinned requirements.

    Raises:
        CalledProcessError: pip failed; it has said why.
    """
    python = folder / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    quiet = ["-qq", "--progress-bar", "off"]
    subprocess.run([*pip, "install", *quiet, "-r", REQUIREMENTS], check=True, stdout=sys.stderr)
    subprocess.run([*pip, "uninstall", "--quiet", "--yes", *REMOVED], check=True, stdout=sys.stderr)


def pull(model: CatalogueModel, directory: Path, say: Say) -> Path:
    """Return the model's GGUF file in `directory`, fetched if it is not there; say every tenth.

    Raises:
        WeightsError: The weights cannot be fetched.
    """
    told = -1

    def progress(name: str, held: int, total: int) -> None:
        nonlocal told
        tenth = 10 * held // total
        if tenth > told:
            told = tenth
            say(f"{name}: {held / 1e6:.0f} of {total / 1e6:.0f} MB")

    return Weights(directory, progress).pull(model)


def prepare(models: Path, say: Say) -> Environment:
    """Make what is missing beside the folder `models` and return where it is.

    Raises:
        SystemExit: The disk is too small.
        CalledProcessError: pip or the conversion failed; they have said why.
        WeightsError: The weights cannot be fetched.
    """
    model = find(MODEL)
    if model is None:
        sys.exit(f"{MODEL}: not in entroute's catalogue; name one that is in {Path(__file__).name}")
    root = models.parent
    venv = root / "vllm-cpu"
    python = venv / "bin" / "python"
    recipe = digest(REQUIREMENTS.read_bytes(), repr(REMOVED).encode(), sys.version.encode())
    with made_once(venv, recipe, VENV_BYTES, say) as needed:
        if needed:
            make_venv(venv)

    folder = root / "vllm-models" / MODEL
    recipe = digest(CONVERT.read_bytes(), model.sha256.encode())
    with made_once(folder, recipe, MODEL_BYTES, say) as needed:
        if needed:
            gguf = pull(model, models, say)
            say(f"converting {gguf}")
            subprocess.run([python, CONVERT, gguf, folder], check=True, stdout=sys.stderr)
    return Environment(python=str(python), model=str(folder))


def main() -> None:
    """Prepare, saying on standard error what takes how long, and print where everything is."""
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started:6.1f} s  {line}", file=sys.stderr, flush=True)  # noqa: T201

    environment = prepare(default_directory(), say)
    print(json.dumps(asdict(environment)))  # noqa: T201 - the answer of this command


if __name__ == "__main__":
    main()
