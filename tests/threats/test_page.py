"""Every claim of the threat model names tests, and every test that it names exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "threat-model.md"
_NAMED = re.compile(r"`(tests/[a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`")


def claims() -> list[str]:
    """Return the claims: items of lists that do not stand below "Not protected"."""
    found: list[str] = []
    open_risks = False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            open_risks = False
        elif line == "Not protected:":
            open_risks = True
        elif line.startswith("- ") and not open_risks:
            found.append(line)
    return found


def names_in(path: Path) -> set[str]:
    """Return the names of a module's tests."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, functions)}


@pytest.mark.parametrize("claim", claims())
def test_a_claim_names_tests_that_exist(claim: str) -> None:
    named = _NAMED.findall(claim)
    assert named, "name the tests that hold it, as `tests/.../test_x.py::test_name`"
    assert claim.count("tests/") == len(named), "a test is named in a way that is not understood"
    missing = [f"{path}::{name}" for path, name in named if name not in names_in(ROOT / path)]
    assert missing == []


def test_every_heading_has_claims_and_says_what_is_not_protected_where_something_is_not() -> None:
    sections = PAGE.read_text(encoding="utf-8").split("\n## ")[1:]
    assert len(sections) == 8
    for section in sections:
        assert "\n- " in section.partition("Not protected:")[0], section[:40]
        assert "Not protected:" in section, section[:40]
