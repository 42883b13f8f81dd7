"""What a program is and does, apart from how it is written: hashes and clusters.

All of it is pure; nothing a model wrote is run here.
"""

import ast
import builtins
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from entroute.code import parsed

_REFLECTIVE = frozenset({"eval", "exec", "globals", "locals", "vars", "getattr", "setattr", "dir"})
_PREFIX = 12  # hexadecimal digits of a hash that are told

MAX_HASHED = 16_000
"""Characters of a program that is hashed by its tree, some 0.1 s; a longer one by its text."""


def digest(*parts: str) -> str:
    """Return a short hash of texts, the same on every machine."""
    joined = "\0".join(parts).encode("utf-8", "replace")
    return hashlib.sha256(joined).hexdigest()[:_PREFIX]


# --- what a program is -----------------------------------------------------------------------


def functional_hash(source: str, keep: Collection[str] = ()) -> str:
    """Hash a program so that renaming, comments, docstrings and layout make no difference.

    Names that the program binds itself are numbered in the order of the syntax tree. `keep` are
    names that others know it by: its entry point, words of its callers. Programs of one hash do
    the same; programs of two hashes may. Source: functional hash (2302.05433), its syntactic part.
    """
    tree = parsed(source) if len(source) <= MAX_HASHED else None
    if tree is None:
        return digest("text", source.strip())
    try:
        _Undocumented().visit(tree)
        names = _private_names(tree, frozenset(keep))
        _Renamed(names).visit(tree)
        return digest("tree", ast.dump(tree))
    except (ValueError, RecursionError, MemoryError):  # ValueError: a number of too many digits
        return digest("text", source.strip())


def _private_names(tree: ast.Module, keep: frozenset[str]) -> dict[str, str]:
    """Number the names that a program binds and that mean nothing outside it.

    A name that is also an attribute, a keyword of a call, a builtin or part of an import keeps
    its writing, and so does every name of a program that looks names up by their text.
    """
    nodes = list(ast.walk(tree))
    public = keep.union(dir(builtins), *map(_public_names, nodes))
    if "*" in public or any(isinstance(n, ast.Name) and n.id in _REFLECTIVE for n in nodes):
        return {}
    bound = dict.fromkeys(name for node in nodes if (name := _bound_name(node)))
    private = [name for name in bound if name not in public and not name.startswith("__")]
    return {name: f"${number}" for number, name in enumerate(private)}


def _bound_name(node: ast.AST) -> str | None:
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.arg(arg=name):
            return name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return name
        case ast.ExceptHandler(name=str(name)):
            return name
    return None


def _public_names(node: ast.AST) -> set[str]:
    match node:
        case (
            ast.Attribute(attr=name)
            | ast.keyword(arg=str(name))
            | ast.MatchAs(name=str(name))
            | ast.MatchStar(name=str(name))
            | ast.MatchMapping(rest=str(name))
        ):
            return {name}
        case ast.ClassDef(name=name, body=body):
            return {name}.union(*map(_class_names, body))
        case ast.alias(name=name, asname=alias):
            return {name.split(".")[0], alias or name}
        case ast.Global(names=names) | ast.Nonlocal(names=names):
            return set(names)
    return set()


def _class_names(statement: ast.stmt) -> set[str]:
    """Return what a statement of a class body may make an attribute."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return {statement.name}
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}


class _Renamed(ast.NodeTransformer):
    def __init__(self, names: dict[str, str]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = self._names.get(node.id, node.id)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.arg = self._names.get(node.arg, node.arg)
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.name = self._names.get(node.name, node.name)
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.name = self._names.get(node.name, node.name)
        return self.generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        node.name = self._names.get(node.name or "", node.name)
        return self.generic_visit(node)


class _Undocumented(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        """Put `pass` in the place of a bare string: a docstring or a comment in disguise."""
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return ast.Pass()
        return self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Drop every `pass` that another statement makes needless."""
        super().generic_visit(node)
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                real = [statement for statement in block if not isinstance(statement, ast.Pass)]
                setattr(node, name, real or block[:1])
        return node


# --- clusters --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Solution:
    """One candidate as clusters see it.

    Attributes:
        code: Its source, "" where it has none.
        key: Hash of its behaviour; solutions of one key are one cluster.
        share: Share of the tests that it passes, in [0, 1]; all of a cluster have the same.
    """

    code: str
    key: str
    share: float


def best_solution(solutions: Sequence[Solution], *, codet: bool) -> int:
    """Return the index of the representative of the best cluster.

    The best is the one that passes most tests, then the largest; by CodeT's score it is the one
    whose size times its share of tests is largest. Its representative is its shortest code. The
    order of the solutions decides nothing: ties go to the shorter code, then to the alphabet.

    Source: AlphaCode (2203.07814), clustering; CodeT (2207.10397), its score |S| x |T|.

    Raises:
        ValueError: There is no solution.
    """
    if not solutions:
        raise ValueError("there is no solution: give at least one")
    sizes = cluster_sizes(solutions)

    def rank(index: int) -> tuple[bool, float, float, int, str]:
        one = solutions[index]
        size = float(sizes[one.key])
        first, second = (size * one.share, one.share) if codet else (one.share, size)
        return not one.code, -first, -second, len(one.code), one.code

    return min(range(len(solutions)), key=rank)


def cluster_sizes(solutions: Sequence[Solution]) -> dict[str, int]:
    """Count the solutions of each key."""
    sizes: dict[str, int] = {}
    for solution in solutions:
        sizes[solution.key] = sizes.get(solution.key, 0) + 1
    return sizes
