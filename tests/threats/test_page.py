"""Every claim of the threat model names tests, and every test that it names exists."""

import pytest

from tests.named_tests import ROOT, check_named

PAGE = ROOT / "docs" / "threat-model.md"


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


@pytest.mark.parametrize("claim", claims())
def test_a_claim_names_tests_that_exist(claim: str) -> None:
    check_named(claim)


def test_every_heading_has_claims_and_says_what_is_not_protected_where_something_is_not() -> None:
    sections = PAGE.read_text(encoding="utf-8").split("\n## ")[1:]
    assert len(sections) == 8
    for section in sections:
        assert "\n- " in section.partition("Not protected:")[0], section[:40]
        assert "Not protected:" in section, section[:40]
