"""Weights from a model hub, by the hub's own client in a child process."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from entroute.embedded.catalogue import CatalogueModel
from entroute.embedded.fetching import Patience, run_download
from entroute.errors import WeightsError

# The client's own retries take half a minute to find that there is no network.
PATIENCE = Patience(first_byte_s=10.0, silence_s=60.0)


class Hub:
    """A model hub; `HF_ENDPOINT`, `HF_HUB_OFFLINE` and `HF_TOKEN` are honoured."""

    name = "hub"

    def __init__(self, patience: Patience = PATIENCE) -> None:
        self._patience = patience

    def fetch(self, model: CatalogueModel, workdir: Path, report: Callable[[int], None]) -> Path:
        """Download the model's file under `workdir`; an interrupted download goes on.

        Raises:
            WeightsError: The hub does not answer within seconds, or does not have the file.
        """
        if not model.hub_repo:
            raise WeightsError(f"no repository is known for {model.name}")
        command = [
            *(sys.executable, "-P", "-m", "entroute.embedded.hub_child"),
            *(model.hub_repo, model.hub_file, str(workdir)),
        ]
        # Plain HTTP grows one file, which is what is watched; it also resumes.
        environment = {"HF_HUB_DISABLE_XET": "1", **os.environ}
        run_download(command, workdir, self._patience, report, environment)
        return workdir / model.hub_file
