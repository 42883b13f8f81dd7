"""Text that a model or a client writes is read while other requests wait: none may hold them up."""

import asyncio
from collections.abc import Callable

import pytest

from entroute.answers import extract
from entroute.code import parsed
from entroute.errors import InvalidRequest
from entroute.strategies.behaviour import functional_hash
from entroute.strategies.examples import examples_in
from entroute.strategies.programs import code_of
from entroute.verifiers import build_verifier
from tests.fakes import FakeSandbox, executed, verifier_parts

GAP_S = 25.0
"""Longest time that the loop may stand still: generous, since other processes run beside this."""

SIZE = 65_000


def nested_finally(header: str) -> str:
    """Return 20 blocks whose compilation doubles with each of 18 levels: 25 s in all."""
    depth = 18  # of at most 20; a level more takes twice the memory too
    opened = "".join(f" {' ' * i}try:\n {' ' * i} 0\n {' ' * i}finally:\n" for i in range(depth))
    return f"{header}\n{opened} {' ' * depth}0\n" * 20


HOSTILE = {
    "nested finally in classes": nested_finally("class A:"),
    "nested finally in functions": nested_finally("def f(x):"),
    "a chain of attributes": "a" + ".b" * (SIZE // 2),
    "a chain of calls": "f" + "()" * (SIZE // 2),
    "a chain of minus signs": "-" * SIZE + "1",
    "a chain of lambdas": "lambda:" * (SIZE // 7) + "1",
    "a sum": "1+" * (SIZE // 2) + "1",
    "open brackets": "(" * SIZE,
    "closed brackets": "(" * 190 + "a" + ")" * 190,
    "a huge list": "x = [" + "a," * (SIZE // 2) + "]",
    "a huge decimal number": "x = " + "9" * SIZE,
    "a huge hexadecimal number": "x = 0x" + "f" * (SIZE - 10),
    "many functions": "def f():0\n" * (SIZE // 10),
    "many classes": "class a:0\n" * (SIZE // 10),
    "many statements": "a\n" * (SIZE // 2),
    "far too many statements": "a = 1\n" * 200_000,
    "many asserts": "assert f(1) == 1\n" * (SIZE // 17),
    "many asserts after much else": "x=[" + "a," * 7000 + "]\n" + "assert x\n" * 5000,
    "many doctests": "".join(f">>> f({i})\n{i}\n" for i in range(4000)),
    "many open docstrings": "'''>>> f(1)\n1\n" * 4000,
    "many arrows": "def f(x): 0\n"
    + ("f(" + "(" * 90 + ")" * 90 + ") -> " + "[" * 90 + "]" * 90 + " . , # because\n") * 150,
    "many fences": "```\ndef f(a):\n  0\n```\n" * 2500,
    "many imports": "import a\n" * (SIZE // 9),
    "half a surrogate pair": "x = '\ud800'",
    "a null byte": "x = 1\0",
}


def verifies(kind: str, field: str) -> Callable[[str], object]:
    """Return a reader that builds a verifier of code, which may refuse it."""

    def read(text: str) -> object:
        try:
            return build_verifier(
                {"kind": kind, field: text}, verifier_parts(sandbox=FakeSandbox(executed))
            )
        except InvalidRequest as error:
            return error

    return read


READERS: dict[str, Callable[[str], object]] = {
    "parsed": parsed,
    "functional_hash": functional_hash,
    "code_of": lambda text: code_of(text, "f", before="def f(x):\n"),
    "examples_in": examples_in,
    "extract": lambda text: extract(text, "code"),
    "tests": verifies("tests", "tests"),
    "program": verifies("program", "source"),
}


async def longest_gap(read: Callable[[str], object], text: str) -> float:
    """Return the longest time that another task had to wait while a text was read."""
    loop = asyncio.get_running_loop()
    gaps: list[float] = []

    async def beat() -> None:
        last = loop.time()
        while True:
            await asyncio.sleep(0.001)
            now = loop.time()
            gaps.append(now - last)
            last = now

    heart = asyncio.create_task(beat())
    await asyncio.sleep(0.002)
    read(text)
    await asyncio.sleep(0.002)
    heart.cancel()
    await asyncio.gather(heart, return_exceptions=True)
    return max(gaps)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("text", HOSTILE)
async def test_reading_hostile_code_does_not_hold_up_other_requests(reader: str, text: str) -> None:
    assert await longest_gap(READERS[reader], HOSTILE[text]) < GAP_S
