"""Grades of answers, each made once and kept: grading runs programs."""

import hashlib
import json
from pathlib import Path

from loadtest.tasks import Prompt, is_right


class Grades:
    """Whether answers are right.

    Args:
        path: Where grades are kept between runs.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, bool] = {}
        if path.exists():
            self._known = json.loads(path.read_text(encoding="utf-8"))

    def right(self, prompt: Prompt, text: str) -> bool:
        """Tell whether an answer is right."""
        key = hashlib.blake2b(f"{prompt.id}\0{text}".encode(), digest_size=12).hexdigest()
        if key not in self._known:
            self._known[key] = is_right(prompt, text)
        return self._known[key]

    def save(self) -> None:
        """Write what is known."""
        self._path.write_text(json.dumps(self._known), encoding="utf-8")
