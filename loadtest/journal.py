"""Rows of a long run, kept as they are made so that the run can go on after a stop.

One JSON line a row; the first line holds the settings that rows must share.
"""

import json
from pathlib import Path
from typing import Any


class Journal:
    """The rows of one run by key (pass, prompt, arm); rows with an error are asked again."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        """Open a journal, reading what an earlier run left.

        Raises:
            ValueError: the file was recorded with other settings.
        """
        self._path = path
        self._rows: dict[tuple[int, str, str], dict[str, Any]] = {}
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        if not lines:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"settings": settings}) + "\n", encoding="utf-8")
            return
        recorded = json.loads(lines[0]).get("settings")
        if recorded != settings:
            raise ValueError(f"{path} was recorded with {recorded}, not {settings}; name another")
        for line in lines[1:]:
            self._take(line)

    def __contains__(self, key: tuple[int, str, str]) -> bool:
        return key in self._rows

    def add(self, row: dict[str, Any]) -> None:
        """Keep one row, on disk first."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self._rows[_key(row)] = row

    def rows(self) -> list[dict[str, Any]]:
        """Return all rows, the newest of each key."""
        return list(self._rows.values())

    def _take(self, line: str) -> None:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            return  # cut off when the earlier run was stopped
        if not row.get("error"):
            self._rows[_key(row)] = row


def _key(row: dict[str, Any]) -> tuple[int, str, str]:
    return row["pass"], row["prompt"], row["arm"]
