"""Writes what deployment needs and is made from code: `python -m deploy.generate [--check]`."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from deploy.chart import files as chart
from deploy.dashboards import boards

ROOT = Path(__file__).resolve().parents[1]

GENERATED: Mapping[str, Callable[[], str]] = {
    **chart.FILES,
    **boards.files(),
}
"""Paths from the repository's root, and what writes them."""


def main(arguments: list[str]) -> int:
    """Write every generated file, or say which are out of step.

    Returns:
        The exit code: 1 when `--check` finds a file out of step.
    """
    stale = [name for name, text in GENERATED.items() if _held(ROOT / name) != text()]
    if "--check" in arguments:
        if stale:
            print(f"out of step with the code, run `make docs`: {', '.join(stale)}")
        return int(bool(stale))
    for name in stale:
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / name).write_text(GENERATED[name](), encoding="utf-8")
    return 0


def _held(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
