"""Tests that pages of the documentation name, as `tests/.../test_x.py::test_name`."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_NAMED = re.compile(r"`(tests/[a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`")


def check_named(text: str) -> None:
    """Check that a text names tests, and that each of them exists."""
    named = _NAMED.findall(text)
    assert named, "name the tests that hold it, as `tests/.../test_x.py::test_name`"
    assert text.count("tests/") == len(named), "a test is named in a way that is not understood"
    missing = [f"{path}::{name}" for path, name in named if name not in _names_in(ROOT / path)]
    assert missing == []


def _names_in(path: Path) -> set[str]:
    """Return the names of a module's tests."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, functions)}
