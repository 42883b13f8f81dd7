"""Holds delivered answers against what workers say they sent, token by token."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from loadtest.chaos_client import Asked
from loadtest.describing import TOKEN
from loadtest.sent import Sent, digest

_PIECE = re.compile(r"(?:\s?\w+\.\d+\.\d+)|\n.+", re.DOTALL)

_CUT = frozenset({"budget", "deadline"})

SentBy = Mapping[tuple[str, int], Sent]
"""Generations by worker and number."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of an answer: the generation it is of, and whether all of that was delivered."""

    sent: Sent
    whole: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer's stretches in order, and what is wrong with it (empty: nothing)."""

    stretches: tuple[Stretch, ...]
    wrong: str


def read_answer(asked: Asked, sent: SentBy) -> Reading:
    """Take an answer apart into the generations it is made of.

    Right is an answer of one generation or, where it changed hands, of several, each made for this
    prompt, delivered from its first token on without a gap, and begun with exactly the text that
    was delivered before it. An answer that ended in order ends with all of its last generation,
    unless a limit of its budget cut it.
    """
    stretches: list[Stretch] = []
    rest, before = asked.text, ""
    while rest:
        token = TOKEN.match(rest.lstrip())
        found = None if token is None else sent.get((token[1], int(token[2])))
        if token is None or found is None:
            return Reading(tuple(stretches), f"no worker sent {rest[:60]!r}")
        problem = _misplaced(found, asked, before, stretches)
        length = _common(found.text, rest)
        if not problem and not length:
            problem = f"{rest[:40]!r} is not how {found.worker}.{found.number} began"
        if problem:
            return Reading(tuple(stretches), problem)
        stretches.append(Stretch(found, length == len(found.text)))
        before, rest = before + rest[:length], rest[length:]
    return Reading(tuple(stretches), _unfinished(asked, stretches) if asked.whole else "")


def tokens_of(text: str) -> int:
    """Return how many tokens a described answer has."""
    return len(_PIECE.findall(text))


def _misplaced(found: Sent, asked: Asked, before: str, stretches: list[Stretch]) -> str:
    name = f"{found.worker}.{found.number}"
    if found.prompt != asked.wish.name:
        return f"{name} answered {found.prompt}, not {asked.wish.name}"
    if any(stretch.sent == found for stretch in stretches):
        return f"{name} comes twice: a token was lost or doubled"
    if found.before != digest(before):
        return f"{name} did not go on with the text before it"
    return ""


def _common(made: str, delivered: str) -> int:
    """Return how many characters both begin with, in whole tokens unless `delivered` ends there."""
    if made.startswith(delivered):
        return len(delivered)
    length = 0
    for piece in _PIECE.finditer(made):
        if not delivered.startswith(made[: piece.end()]):
            break
        length = piece.end()
    return length


def _unfinished(asked: Asked, stretches: list[Stretch]) -> str:
    if not stretches:
        return "it ended in order without a token"
    last = stretches[-1]
    if last.whole and last.sent.finish_reason == asked.finish_reason:
        return ""
    if asked.finish_reason == "length" and (asked.stop_reason in _CUT or asked.hurried):
        return ""
    name = f"{last.sent.worker}.{last.sent.number}"
    share = "all" if last.whole else "a part"
    return f"it ended with '{asked.finish_reason}' after {share} of {name}"
