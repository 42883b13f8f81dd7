"""The init container's program, run as the chart runs it, against a hub on this machine."""

import subprocess
import sys
from pathlib import Path

from tests.deploy.hub import COMMIT, Hub, hub

PROGRAM = Path(__file__).parents[2] / "helm/entroute/files/models/download.py"
MODEL = "org/small"
FILES = {"config.json": b"{}", "model.safetensors": b"weights", "old.pth": b"twice the weights"}


Done = subprocess.CompletedProcess[str]


def run(there: Hub, home: Path, *more: str, revision: str = "main") -> Done:
    """Run the program with the arguments that the chart gives."""
    command = [sys.executable, "-c", PROGRAM.read_text(encoding="utf-8"), MODEL, revision, *more]
    variables = {
        "HF_HOME": str(home),
        "HF_ENDPOINT": there.url,
        "HF_TOKEN": "hf_token",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
    }
    return subprocess.run(
        command, env=variables, capture_output=True, text=True, check=False, timeout=60
    )


def snapshot(home: Path) -> set[str]:
    """Return the files that a server finds in the volume."""
    folder = home / "hub/models--org--small/snapshots" / COMMIT
    return {path.name for path in folder.glob("*")}


def test_a_model_is_fetched_without_what_is_excluded(tmp_path: Path) -> None:
    with hub(MODEL, FILES) as there:
        done = run(there, tmp_path, "*.pth")
    assert done.returncode == 0, done.stderr
    assert snapshot(tmp_path) == {"config.json", "model.safetensors"}
    assert "Bearer hf_token" in there.tokens


def test_a_revision_that_is_there_is_not_asked_for_again(tmp_path: Path) -> None:
    with hub(MODEL, FILES) as there:
        assert run(there, tmp_path).returncode == 0
        there.asked.clear()
        done = run(there, tmp_path)
        assert (done.returncode, there.asked) == (0, [])
        assert "is there" in done.stdout
        assert run(there, tmp_path, revision="v2").returncode == 0
        assert there.asked


def test_a_model_that_came_in_part_is_fetched_again(tmp_path: Path) -> None:
    with hub(MODEL, FILES, missing={"model.safetensors"}) as there:
        assert run(there, tmp_path).returncode != 0
    assert "config.json" in snapshot(tmp_path)
    with hub(MODEL, FILES) as there:
        done = run(there, tmp_path)
    assert done.returncode == 0, done.stderr
    assert snapshot(tmp_path) == set(FILES)


def test_a_hub_that_is_away_fails_the_start_and_leaves_no_mark(tmp_path: Path) -> None:
    with hub(MODEL, FILES) as there:
        pass
    assert run(there, tmp_path).returncode != 0
    assert not (tmp_path / "complete").exists()
