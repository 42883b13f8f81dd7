"""Examples in a prompt: what function it asks for, and what that must return.

Reads doctests, `assert` lines and lines such as `f(3) -> 5`. Whatever a prompt holds, nothing of
it is run here: examples are source text, and arguments are literals.
"""

import ast
import builtins
import doctest
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from entroute.answers import TAIL
from entroute.code import parsed, unparsed

MAX_EXAMPLES = 32
MAX_IMPORTS = 16
MAX_SOURCE = 1_000
"""Characters of one example; longer ones are no examples but data."""

MAX_LINES = 64
"""Lines, blocks and doctests of a prompt that are parsed, of each kind: parsing takes time."""

EQUAL = "_equal"
"""What checks call to compare two values; whoever runs them defines it."""

_HEADER = re.compile(r"(?m)^[ \t]{0,12}(?:async )?def ([A-Za-z_]\w{0,80})\s?\(")
_IMPORT = re.compile(r"(?m)^(?:from [\w.]{1,80} import [\w, *]{1,200}|import [\w., ]{1,200})$")
_ASSERT = re.compile(r"^[\s>`*-]{0,12}(assert\b.{1,999})$")
_NO_ARROW = re.compile(r"\s*(?:>>>|(?:async )?def )")
_ARROWS = ("==>", "=>", "->", "➞", "→", "==", " returns ", " should return ", " = ", "# ")
_TAILS = ("#", " (", ". ", ", ", " because", "  ")


@dataclass(frozen=True, slots=True)
class Example:
    """One thing that a prompt says of its function.

    Attributes:
        check: A Python expression that is true of a right program; `_equal` in it is equality up
            to the rounding of floats.
        arguments: What the function is called with, where they are literals, else None.
    """

    check: str
    arguments: tuple[Any, ...] | None = None


@dataclass(frozen=True, slots=True)
class Examples:
    """What a prompt says of the function it asks for.

    Attributes:
        function: Its name, or None where the prompt names none.
        examples: In the order of the kinds: asserts, doctests, arrows; no two the same.
        imports: Import lines of the prompt, which answers like to leave out.
    """

    function: str | None = None
    examples: tuple[Example, ...] = ()
    imports: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[tuple[Any, ...], ...]:
        """The literal arguments of the examples."""
        return tuple(e.arguments for e in self.examples if e.arguments is not None)


def examples_in(prompt: str) -> Examples:
    """Find the function that a prompt asks for and the examples it gives."""
    text = prompt[-TAIL:]
    asserted = list(_asserts(text))
    shown = list(_doctests(text))
    function = _function(text, [*asserted, *shown])
    if function is None:
        return Examples(imports=_imports(text))
    checks = [check for check in (*asserted, *shown) if function in _called(check)]
    checks += _arrows(text, function)
    unique = {_written(check): check for check in checks}
    found = tuple(
        Example(source, _arguments(check, function))
        for source, check in unique.items()
        if 0 < len(source) <= MAX_SOURCE
    )
    return Examples(function, found[:MAX_EXAMPLES], _imports(text))


def _function(text: str, checks: list[ast.expr]) -> str | None:
    """Name what examples call most, the last defined of those; else the last that is defined."""
    defined: list[str] = _HEADER.findall(text)
    called = Counter(name for check in checks for name in _called(check))
    wanted = [name for name in defined if name in called] or defined
    if wanted:
        return wanted[-1]
    foreign = [name for name, _ in called.most_common() if name not in _NOT_ASKED]
    return foreign[0] if foreign else None


_NOT_ASKED = frozenset({*dir(builtins), EQUAL})


def _called(node: ast.AST) -> list[str]:
    return [
        n.func.id
        for n in ast.walk(node)
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
    ]


def _asserts(text: str) -> Iterator[ast.expr]:
    written = filter(None, map(_ASSERT.match, text.splitlines()))
    for match in islice(written, MAX_LINES):
        statement = _assert(match[1])
        if statement is not None:
            yield _compared(statement.test)


def _assert(source: str) -> ast.Assert | None:
    tree = parsed(source.rstrip("` "))
    statement = tree.body[0] if tree and len(tree.body) == 1 else None
    return statement if isinstance(statement, ast.Assert) else None


def _compared(test: ast.expr) -> ast.expr:
    """Return a comparison with `==` as one up to rounding, anything else as it is."""
    match test:
        case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
            return _equal(left, right)
    return test


def _doctests(text: str) -> Iterator[ast.expr]:
    """Yield the doctests of code in a text, else those that the text itself holds."""
    # Raw text is the last resort: it has escapes that a docstring would resolve.
    raw = re.split(r'"""|' + "'''|```", text)
    yield from list(_shown(_docstrings(text))) or _shown(raw)


def _shown(sources: Iterable[str]) -> Iterator[ast.expr]:
    """Yield the doctests of sources, the first `MAX_LINES` of them."""
    showing = islice((source for source in sources if ">>>" in source), MAX_LINES)
    for example in islice(chain.from_iterable(map(_prompted, showing)), MAX_LINES):
        call, want = _expression(example.source), _literal(example.want)
        if call is not None and want is not None:
            yield _equal(call, want)
        elif isinstance(call, ast.Compare) and not example.want:
            yield _compared(call)


def _prompted(source: str) -> list[doctest.Example]:
    try:
        return doctest.DocTestParser().get_examples(source)
    except ValueError:
        return []


def _docstrings(text: str) -> Iterator[str]:
    """Yield the docstrings of code in a text: of each fenced block, and from the first `def` on."""
    header = _HEADER.search(text)
    pieces = [*re.split(r"(?m)^```.*$", text), text[header.start() :] if header else ""]
    showing = islice((piece for piece in pieces if ">>>" in piece), MAX_LINES)
    for tree in filter(None, map(parsed, showing)):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                yield ast.get_docstring(node) or ""


def _arrows(text: str, function: str) -> Iterator[ast.expr]:
    told = (line for line in text.splitlines() if _may_tell(line, function))
    for line in islice(told, MAX_LINES):
        if (asserted := _ASSERT.match(line)) and _assert(asserted[1]):
            continue
        said = line[line.find(f"{function}(") :]
        for arrow in _ARROWS:
            left, found, right = said.partition(arrow)
            call = _expression(left.strip(" `:")) if found else None
            if not isinstance(call, ast.Call) or _arguments(call, function) is None:
                continue
            want = _wanted(right)
            if want is not None:
                yield _equal(call, want)
                break


def _may_tell(line: str, function: str) -> bool:
    """Whether a line has a call and an arrow after it, which costs little to tell."""
    start = line.find(f"{function}(")
    if start < 0 or len(line) > MAX_SOURCE or _NO_ARROW.match(line):
        return False
    return any(arrow in line[start:] for arrow in _ARROWS)


def _wanted(text: str) -> ast.expr | None:
    """Read the literal that a text begins with, words after it left out."""
    shorter = (text.split(tail, maxsplit=1)[0] for tail in _TAILS)
    found = (_literal(part.strip(" `=>.,;")) for part in (text, *shorter))
    return next((literal for literal in found if literal is not None), None)


def _expression(source: str) -> ast.expr | None:
    tree = parsed(source.strip()) if len(source) <= MAX_SOURCE else None
    if tree is None or len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
        return None
    return tree.body[0].value


def _literal(source: str) -> ast.expr | None:
    expression = _expression(source)
    return expression if expression is not None and _value(expression) is not None else None


def _value(node: ast.expr) -> tuple[Any] | None:
    """Return a literal's value in a tuple of one, or None where it is no literal."""
    try:
        return (ast.literal_eval(node),)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


def _equal(left: ast.expr, right: ast.expr) -> ast.expr:
    name = ast.Name(EQUAL, ast.Load())
    return ast.Call(func=name, args=[left, right], keywords=[])


def _written(check: ast.expr) -> str:
    """Return an expression's source, "" where it cannot be written."""
    return unparsed(check) or ""


def _arguments(check: ast.expr, function: str) -> tuple[Any, ...] | None:
    for node in ast.walk(check):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == function:
            values = [_value(argument) for argument in node.args]
            if node.keywords or None in values:
                return None
            return tuple(value[0] for value in values if value is not None)
    return None


def _imports(text: str) -> tuple[str, ...]:
    lines = islice(dict.fromkeys(_IMPORT.findall(text)), MAX_IMPORTS)
    return tuple(line for line in lines if parsed(line))
