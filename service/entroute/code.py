"""The Python in an answer: its fenced blocks, those that define a function, and its syntax tree."""

import ast
import re
import warnings
from collections.abc import Iterable, Sequence

MAX_SOURCE = 65_536
"""Characters of a text that are searched for code, from its end, and of code that is read."""

PRIVATE_OUT = """\
def _private_out():
    import os, sys
    try:
        own = os.dup(sys.stdout.fileno())
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        return sys.stdout
    return open(own, "w", encoding="utf-8", errors="replace")
"""
"""Python for programs that report on foreign code: what that writes to descriptor 1 is lost.

So it cannot fill up the output that a sandbox keeps. Not where stdout has no descriptor.
"""

_FENCE = re.compile(r"(?m)^[ \t]{0,12}(?:```|~~~)([^\n`]*)$")
_PYTHON = frozenset({"", "python", "py", "python3"})


def code_blocks(text: str) -> list[str]:
    """Return the fenced blocks of a text that are Python or of no language, as they stand there.

    The last one's closing fence may be missing, as a stop sequence takes it away.
    """
    parts = _FENCE.split(text[-MAX_SOURCE:])
    fences = list(zip(parts[1::2], parts[2::2], strict=True))[::2]
    blocks = [
        body.removeprefix("\n")
        for info, body in fences
        if " ".join(info.lower().split()[:1]) in _PYTHON
    ]
    return [block for block in blocks if block.strip()]


def defining(blocks: Iterable[str], names: Sequence[str]) -> list[str]:
    """Return the blocks that define a function of one of these names, in order."""
    if not names:
        return []
    either = "|".join(map(re.escape, names))
    header = re.compile(rf"(?m)^[ \t]*(?:async )?def (?:{either})\b")
    return [block for block in blocks if header.search(block)]


def parsed(source: str) -> ast.Module | None:
    """Return Python source as a tree; None where it is no Python or over `MAX_SOURCE` characters.

    It is never compiled: that takes time exponential in the depth of nested `finally` blocks, and
    foreign code is read while other requests wait. CPython raises SystemError where a finaliser
    that runs meanwhile parses something, too.
    """
    if len(source) > MAX_SOURCE:
        return None
    try:
        with warnings.catch_warnings():  # odd escapes in foreign code are no concern of our log
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError, SystemError):
        return None


def unparsed(tree: ast.AST) -> str | None:
    """Return a tree's source; None where it is nested too deeply or holds too long a number."""
    try:
        return ast.unparse(tree)
    except (ValueError, RecursionError, MemoryError):
        return None
