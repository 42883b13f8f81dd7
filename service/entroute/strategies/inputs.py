"""Inputs for a function, made from the arguments of its examples. Pure, seeded."""

import ast
import string
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

Changed = Callable[[Any, Random], Any]

_TRIES = 10  # mutations tried for each input wanted: small domains hold few


def generated_inputs(
    given: Sequence[tuple[Any, ...]], count: int, rng: Random
) -> tuple[tuple[Any, ...], ...]:
    """Return up to `count` new argument lists, each one or two mutations away from a given one.

    Types are kept, nested ones too, and the sign of numbers: most functions are asked for one
    domain. Source: type-aware mutation of inputs, EvalPlus (2305.01210).
    """
    seen = {repr(arguments) for arguments in given}
    made: list[tuple[Any, ...]] = []
    for _ in range(count * _TRIES if given else 0):
        if len(made) == count:
            break
        arguments = rng.choice(given)
        for _ in range(rng.randint(1, 2)):
            arguments = mutated(arguments, rng)
        if repr(arguments) not in seen and _writable(arguments):
            seen.add(repr(arguments))
            made.append(arguments)
    return tuple(made)


def _writable(arguments: tuple[Any, ...]) -> bool:
    """Whether arguments can be written as literals: an infinity cannot."""
    try:
        return bool(ast.literal_eval(repr(arguments)) == arguments)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return False


def mutated(value: Any, rng: Random) -> Any:
    """Return a value of the same shape that is likely another one."""
    match value:
        case bool():
            value = rng.random() < 0.5  # noqa: PLR2004 - a coin
        case int() | float():
            value = _number(value, rng)
        case str():
            value = "".join(_sequence(list(value), rng, _letter))
        case bytes():
            value = bytes(_sequence(list(value), rng, _octet))
        case list():
            value = _sequence(value, rng, mutated)
        case tuple() if value:
            value = tuple(_one_mutated(list(value), rng))
        case dict() if value:
            value = dict(zip(value, _one_mutated(list(value.values()), rng), strict=True))
        case set() if value:
            value = set(_sequence(sorted(value, key=repr), rng, mutated))
    return value


def _number(value: float, rng: Random) -> float:
    """Return a number of the same type and the same side of zero."""
    kind = type(value)
    size = rng.choice([abs(value) + 1, abs(value) - 1, abs(value) * 2, abs(value) // 2])
    size = abs(rng.choice([size, size, kind(rng.randint(0, 12))]))
    if value != 0:
        size = size or kind(1)
    return kind(-size if value < 0 else size)


def _letter(letter: str, rng: Random) -> str:
    for letters in (string.ascii_lowercase, string.ascii_uppercase, string.digits):
        if letter in letters:
            return rng.choice(letters)
    return letter


def _octet(octet: int, rng: Random) -> int:
    return rng.randrange(256) if octet else octet


def _sequence(items: list[Any], rng: Random, changed: Changed) -> list[Any]:
    """Return items with one changed, left out, doubled or moved; all of one of their shapes."""
    if not items:
        return items
    at = rng.randrange(len(items))
    match rng.randrange(5):
        case 0:
            return items[:at] + items[at + 1 :]
        case 1:
            return [*items[:at], items[at], *items[at:]]
        case 2:
            return rng.sample(items, len(items))
        case _:
            return [*items[:at], changed(items[at], rng), *items[at + 1 :]]


def _one_mutated(items: list[Any], rng: Random) -> list[Any]:
    at = rng.randrange(len(items))
    return [mutated(item, rng) if i == at else item for i, item in enumerate(items)]
