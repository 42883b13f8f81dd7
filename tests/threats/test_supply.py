"""What is installed is what was looked at."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_dependency_of_the_lock_has_a_hash() -> None:
    lock = (ROOT / "requirements-dev.lock").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", re.sub(r"(?m)^\s*#.*\n", "", lock).strip())
    assert len(entries) > 20
    for entry in entries:
        assert re.match(r"[A-Za-z0-9_.\[\]-]+==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry


def test_the_lock_is_installed_by_its_hashes() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (line,) = [one for one in makefile.splitlines() if "-r requirements-dev.lock" in one]
    assert "--require-hashes" in line
