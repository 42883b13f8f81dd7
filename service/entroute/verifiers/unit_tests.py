"""Reading the unit tests that a request sends."""

import ast
from collections.abc import Sequence

from entroute.code import parsed
from entroute.verifiers.code import functions

MAX_TESTS = 50
MAX_BYTES = 65_536
MAX_WRITTEN = 262_144
"""Characters of all tests, each with the statements before it."""


def read_tests(sources: Sequence[str]) -> tuple[str, ...]:
    """Return one source a test.

    A single source is split into its top-level asserts and `test_*` functions, each after the
    other statements before it; where it has neither, it is one test. Of several sources each is
    one test, and so is what its `test_*` functions do together.

    Raises:
        ValueError: One does not compile, or they are too large or too many.
    """
    size = sum(len(source.encode(errors="replace")) for source in sources)
    if size > MAX_BYTES:
        raise ValueError(f"The tests have {size} bytes and may have {MAX_BYTES}.")
    trees = []
    for number, source in enumerate(sources, start=1):
        tree = parsed(source)
        if tree is None or not tree.body:
            raise ValueError(f"Test {number} is no Python that compiles.")
        trees.append(tree)
    try:
        tests = _split(trees[0]) if len(trees) == 1 else tuple(_whole(tree) for tree in trees)
    except RecursionError as error:
        raise ValueError("A test is nested too deeply.") from error
    if sum(map(len, tests)) > MAX_WRITTEN:
        raise ValueError("The statements before the tests are too long to run with each of them.")
    if len(tests) > MAX_TESTS:
        raise ValueError(f"There are {len(tests)} tests and may be {MAX_TESTS}.")
    return tests


def _is_test(node: ast.stmt) -> bool:
    named = isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    return named or isinstance(node, ast.Assert)


def _split(tree: ast.Module) -> tuple[str, ...]:
    """Return a source for each assert and test function, the other statements before each."""
    setup: list[ast.stmt] = []
    tests: list[str] = []
    for node in tree.body:
        if _is_test(node):
            tests.append(_whole(ast.Module([*setup, node], [])))
        else:
            setup.append(node)
    return tuple(tests) or (_whole(tree),)


def _whole(tree: ast.Module) -> str:
    """Return a source that also calls its test functions."""
    calls = [f"{name}()" for name in functions(tree) if name.startswith("test_")]
    return "\n".join([ast.unparse(tree), *calls])
