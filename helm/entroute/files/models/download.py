# ruff: noqa: INP001 - it is handed to a pod as it is
"""Fetch a model into HF_HOME, once a revision: `download.py MODEL REVISION [EXCLUDE ...]`.

Runs in the image of vLLM, before the server starts. A revision that was fetched whole leaves a
mark; with it nothing is asked of the hub, so that a worker starts again while the hub is away.
"""

import os
import sys
from pathlib import Path

from huggingface_hub import snapshot_download


def main(model: str, revision: str, exclude: list[str]) -> None:
    """Fetch what is not there yet.

    Args:
        model: Name on the hub.
        revision: Branch, tag or commit.
        exclude: Patterns of files that are left out.
    """
    name = f"{model}@{revision}".replace("/", "--")
    mark = Path(os.environ["HF_HOME"], "complete", name)
    if mark.exists():
        print(f"{model} at {revision} is there")  # noqa: T201
        return
    folder = snapshot_download(model, revision=revision, ignore_patterns=exclude)
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    print(f"{model} at {revision} was fetched to {folder}")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
