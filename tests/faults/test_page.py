"""Every row of the failure table names tests, and every test that it names exists."""

import pytest

from tests.named_tests import ROOT, check_named

PAGE = ROOT / "docs" / "failures.md"
_PROMISES = 8


def rows() -> list[str]:
    """Return the table's rows, its head left out."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("| ")][2:]


@pytest.mark.parametrize("row", rows())
def test_a_row_names_tests_that_exist(row: str) -> None:
    check_named(row)


def test_every_promise_has_its_row() -> None:
    assert len(rows()) >= _PROMISES
