"""The type of a question: who is not when, how many is not why, and yes-or-no is neither."""

from collections.abc import Iterator

from entroute.cache.semantic.guards.reading import Reading, plain, word_set

_HOW = {
    "many": "quantity",
    "much": "quantity",
    "long": "duration",
    "far": "distance",
    "old": "age",
    "often": "frequency",
    "big": "size",
    "tall": "size",
    "large": "size",
    "high": "size",
    "fast": "speed",
    "come": "reason",
    "soon": "time",
    "likely": "chance",
    "good": "degree",
    "bad": "degree",
    "hard": "degree",
    "difficult": "degree",
    "safe": "degree",
    "effective": "degree",
}
_WORDS = {
    "who": "person",
    "whom": "person",
    "whose": "owner",
    "when": "time",
    "where": "place",
    "why": "reason",
    "how": "manner",
    "what": "thing",
    "which": "choice",
}
_NOUNS = {
    "time": "time",
    "year": "time",
    "date": "time",
    "day": "time",
    "reason": "reason",
    "reasons": "reason",
    "cause": "reason",
    "causes": "reason",
    "way": "manner",
    "ways": "manner",
    "method": "manner",
    "methods": "manner",
    "steps": "manner",
    "number": "quantity",
    "amount": "quantity",
    "place": "place",
    "places": "place",
    "age": "age",
    "population": "quantity",
    "price": "quantity",
    "cost": "quantity",
}
_ASKS_WHETHER = word_set(
    """
    is are am was were do does did can could will would should shall may might must has have
    had
    """
)
_NEAR = 5
_PREFIX = 3
_CHOICE = ("thing", "person", "place", "time")
_SAME = tuple(frozenset({"choice", other}) for other in _CHOICE)
_LOOSE = frozenset({"thing", "manner", "choice"})
_MODALS = frozenset({"can", "could", "should", "must", "would", "shall"})
_ANYBODY = frozenset({"i", "you", "we", "one", "they"})
_VERBS = _ASKS_WHETHER | _MODALS | frozenset({"to", "be"})
_JOINS = frozenset({"and", "or"})


def differs(a: Reading, b: Reading) -> bool:
    """Say whether one text asks in a way that the other does not."""
    mine, yours = frozenset(_types(a)), frozenset(_types(b))
    return _strange(mine, yours) or _strange(yours, mine)


def _strange(mine: frozenset[str], yours: frozenset[str]) -> bool:
    """Whether a type of `mine` has no counterpart; a text that asks nothing may want a thing."""
    others = yours or _LOOSE
    return any(
        one not in others and not any(one in same and same & others for same in _SAME)
        for one in mine
    )


def _types(text: Reading) -> Iterator[str]:
    for tokens in text.sentences:
        words = [word for token in tokens for word in plain(token)]
        found = [kind for place in range(len(words)) for kind in _asked_at(words, place)]
        if found:
            yield from found
        elif words[0] in _ASKS_WHETHER:
            yield "whether"


def _asked_at(words: list[str], place: int) -> Iterator[str]:
    """Yield the type of the question that begins at a place, if one does."""
    word = words[place]
    joined = place > 0 and words[place - 1] in _JOINS
    # Further in, these words begin a relative clause; `how` and `why` hardly ever do.
    if word not in _WORDS or (place > _PREFIX and not joined and word not in {"how", "why"}):
        return
    following = words[place + 1 : place + 1 + _NEAR]
    kind = _WORDS[word]
    if word in {"when", "where"} and following[:1] and following[0] not in _VERBS:
        return  # "when it rains": a clause
    if kind == "manner" and following:
        yield _HOW.get(following[0], "manner")
    elif kind not in {"thing", "choice"}:
        yield kind
    elif _asks_what_to_do(following):
        yield "manner"
    else:
        yield next((_NOUNS[noun] for noun in following if noun in _NOUNS), kind)


def _asks_what_to_do(following: list[str]) -> bool:
    """Whether words after `what` make it a how: "should I do", "do I do", "can be done"."""
    opening, rest = following[:1], following[1:]
    if opening and opening[0] in _MODALS:
        return not {"do", "done"}.isdisjoint(rest)
    return opening == ["do"] and rest[:1] != [] and rest[0] in _ANYBODY and rest[1:2] == ["do"]
