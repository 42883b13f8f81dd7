import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.code import MAX_SOURCE, code_blocks, defining, parsed

SHORT = "def short():\n    return 1\n"
LONG = "x = 1\ny = 2\nz = 3\nprint(x + y + z)\n"


def fenced(code: str, language: str = "python") -> str:
    return f"Look:\n```{language}\n{code}```\n"


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("no block", []),
        (fenced(SHORT) + fenced(LONG, "py"), [SHORT, LONG]),
        (fenced(SHORT, "") + fenced(LONG, "text"), [SHORT]),
        (fenced(SHORT, "Python title=a.py"), [SHORT]),
        (f"```python\n{SHORT}", [SHORT]),
        (f"~~~python\n{SHORT}~~~", [SHORT]),
        ("```\n\n```", []),
        ("1. so:\n   ```python\n   x = 1\n   ```", ["   x = 1\n"]),
        ("```python\n    return x\n```", ["    return x\n"]),
    ],
)
def test_blocks_of_python_are_found_in_order_as_they_stand(text: str, blocks: list[str]) -> None:
    assert code_blocks(text) == blocks


def test_only_the_end_of_a_long_text_is_searched() -> None:
    assert code_blocks(fenced(SHORT) + "x" * MAX_SOURCE) == []


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["short"], [SHORT]),
        (["shor"], []),
        (["other", "short"], [SHORT]),
        (["x"], []),
        ([], []),
    ],
)
def test_blocks_that_define_a_function_are_told_from_others(
    names: list[str], found: list[str]
) -> None:
    assert defining([LONG, SHORT, "short()"], names) == found


def test_methods_and_coroutines_are_definitions_too() -> None:
    blocks = ["class A:\n    def go(self): ...\n", "async def go(): ...\n", "# def went\n"]
    assert defining(blocks, ["go"]) == blocks[:2]


def test_only_what_parses_and_is_short_enough_is_a_tree() -> None:
    assert parsed("x = '\\d'") is not None
    assert parsed("return 1") is not None  # it would not compile, which nobody tries
    for source in ("x =", "x\0", "(" * 5000, "x = 1\n" * MAX_SOURCE):
        assert parsed(source) is None


@given(st.text(max_size=300), st.lists(st.text(min_size=1, max_size=5), max_size=2))
def test_any_text_is_searched(text: str, names: list[str]) -> None:
    blocks = code_blocks(text)
    assert all(block.strip() and block in text for block in blocks)
    assert set(defining(blocks, names)) <= set(blocks)
