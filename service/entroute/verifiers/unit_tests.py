"""Reading the unit tests that a request sends; a test that wrong code cannot fail is refused."""

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from entroute.code import parsed, unparsed

MAX_TESTS = 50
MAX_BYTES = 65_536
MAX_WRITTEN = 262_144
"""Characters of all tests, each with the statements before it."""

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_CHECKS = frozenset({"raises", "fail", "exit"})


def read_tests(sources: Sequence[str], entry_point: str | None = None) -> tuple[str, ...]:
    """Return one source a test.

    A single source is split into its top-level asserts and `test_*` functions, each after the
    other statements before it; what asserts after the last of them is one more, and where it has
    neither, it is one test. Of several sources each is one test, and so is what its `test_*`
    functions do together. With an entry point a function `check` is called, too.

    Raises:
        ValueError: One is no Python or runs no assert, or they are too large or too many.
    """
    size = sum(len(source.encode(errors="replace")) for source in sources)
    if size > MAX_BYTES:
        raise ValueError(f"The tests have {size} bytes and may have {MAX_BYTES}.")
    modules = []
    for number, source in enumerate(sources, start=1):
        tree = parsed(source)
        if tree is None or not tree.body:
            raise ValueError(f"Test {number} is no Python that can be parsed.")
        module = _Module.of(tree, checked=entry_point is not None)
        module.refuse_idle(f"Test {number}")
        modules.append(module)
    alone = modules[0].split() if len(modules) == 1 else []
    tests = alone or [list(module.body) for module in modules]
    written = _written(tests)
    for number, test in enumerate(tests):
        module = modules[0] if alone else modules[number]
        if not module.asserts(test):
            raise ValueError(
                f"Test {number + 1} runs no assert, so that any code passes it: a test fails "
                "where it raises. Write asserts, or test_* functions that hold some."
            )
    return written


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a block of statements does itself, functions in it left out.

    Attributes:
        checks: Whether it can fail by an assert, a raise, or a call that asserts.
        waits: Whether it yields: calling a function with it runs nothing.
        names: Names and attributes that it mentions.
    """

    checks: bool
    waits: bool
    names: frozenset[str]

    @staticmethod
    def of(body: Iterable[ast.stmt]) -> "_Facts":
        nodes = list(_own_nodes(body))
        return _Facts(
            any(_checks(node) for node in nodes),
            any(isinstance(node, ast.Yield | ast.YieldFrom) for node in nodes),
            frozenset(filter(None, map(_mentioned, nodes))),
        )


@dataclass(frozen=True, slots=True)
class _Module:
    """One source of tests.

    Attributes:
        body: Its statements at the top.
        top: Facts of each of them, by its identity.
        functions: Facts of every function in it, by name.
        checked: Whether its `check` is called.
    """

    body: tuple[ast.stmt, ...]
    top: dict[int, _Facts]
    functions: dict[str, _Facts]
    checked: bool

    @staticmethod
    def of(tree: ast.Module, *, checked: bool) -> "_Module":
        functions = {n.name: _Facts.of(n.body) for n in ast.walk(tree) if isinstance(n, _Function)}
        top = {id(statement): _Facts.of([statement]) for statement in tree.body}
        return _Module(tuple(tree.body), top, functions, checked)

    def refuse_idle(self, where: str) -> None:
        """Refuse what looks like a test and is never run.

        Raises:
            ValueError: There is such a thing.
        """
        called = frozenset[str]().union(
            *(f.names for f in (*self.top.values(), *self.functions.values()))
        )
        for node in self.body:
            name = getattr(node, "name", "")
            idle = name not in called
            if isinstance(node, ast.ClassDef) and (_is_case(node) or (idle and _has_tests(node))):
                raise ValueError(
                    f"{where}: nothing runs the methods of class {name}. Write asserts or test_* "
                    "functions at the top."
                )
            if not isinstance(node, _Function) or not idle:
                continue
            if name == "check" and not self.checked:
                raise ValueError(
                    f"{where}: nothing calls check. Set entry_point to the function that it is "
                    "called with, or call it."
                )
            if name.startswith("test") and not _called_alone(node, self.functions[name]):
                raise ValueError(
                    f"{where}: nothing runs {name}, which is no plain test_* function. Make it "
                    "one, or call it, an async one with asyncio.run."
                )

    def split(self) -> list[list[ast.stmt]]:
        """Return the statements of each test of a single source, none where it is one test.

        Raises:
            ValueError: They are too many.
        """
        if (many := sum(map(_is_test, self.body))) > MAX_TESTS:
            raise ValueError(f"There are {many} tests and may be {MAX_TESTS}.")
        setup: list[ast.stmt] = []
        tests: list[list[ast.stmt]] = []
        since = 0
        for node in self.body:
            if _is_test(node):
                tests.append([*setup, node])
                since = len(setup)
            else:
                setup.append(node)
        if tests and self.asserts(setup[since:]):
            tests.append(setup)
        return tests

    def asserts(self, test: Sequence[ast.stmt]) -> bool:
        """Whether running these statements, and what they call, can fail by a check."""
        run = [self.top[id(node)] for node in test]
        run += [self.functions[name] for name in _called_by_us(test, checked=self.checked)]
        seen: set[str] = set()
        while run:
            one = run.pop()
            if one.checks:
                return True
            new = (one.names & self.functions.keys()) - seen
            seen |= new
            run += [self.functions[name] for name in new]
        return False


def _own_nodes(body: Iterable[ast.stmt]) -> Iterator[ast.AST]:
    left: list[ast.AST] = list(body)
    while left:
        node = left.pop()
        if not isinstance(node, _Function):
            yield node
            left.extend(ast.iter_child_nodes(node))


def _mentioned(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name, ctx=ast.Load()) | ast.Attribute(attr=name):
            return name
    return ""


def _checks(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        name = _mentioned(node.func)
        return name.startswith("assert") or name in _CHECKS
    return isinstance(node, ast.Assert | ast.Raise)


def _called_alone(node: _Function, facts: _Facts) -> bool:
    """Whether we call a function, and calling it runs it."""
    plain = isinstance(node, ast.FunctionDef) and not facts.waits
    return plain and node.name.startswith("test_")


def _is_case(node: ast.ClassDef) -> bool:
    return any(_mentioned(base).endswith("TestCase") for base in node.bases)


def _has_tests(node: ast.ClassDef) -> bool:
    return any(isinstance(n, _Function) and n.name.startswith("test") for n in node.body)


def _is_test(node: ast.stmt) -> bool:
    named = isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    return named or isinstance(node, ast.Assert)


def _called_by_us(test: Iterable[ast.stmt], *, checked: bool) -> list[str]:
    """Return the functions at the top of a test that are called when it runs."""
    names = [node.name for node in test if isinstance(node, ast.FunctionDef)]
    return [n for n in names if n.startswith("test_") or (checked and n == "check")]


def _written(tests: Sequence[Sequence[ast.stmt]]) -> tuple[str, ...]:
    """Return a source for each test, which also calls its test functions.

    Sizes are added up before anything is joined.

    Raises:
        ValueError: They are too long, or one cannot be written.
    """
    known: dict[int, str] = {}  # statements that many tests share are written once
    size = sum(map(len, tests))  # a character each, at least
    for number, test in enumerate(tests, start=1):
        for node in test if size <= MAX_WRITTEN else ():
            if id(node) not in known:
                source = unparsed(node)
                if source is None:
                    raise ValueError(f"Test {number} is nested too deeply or has a huge number.")
                known[id(node)] = source
            size += len(known[id(node)])
    if size > MAX_WRITTEN:
        raise ValueError("The statements before the tests are too long to run with each of them.")
    return tuple(
        "\n".join(
            [
                *(known[id(node)] for node in test),
                *(f"{name}()" for name in _called_by_us(test, checked=False)),
            ]
        )
        for test in tests
    )
