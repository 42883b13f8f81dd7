"""Antonyms and other words of which only one can be meant."""

from collections.abc import Iterable, Iterator

from entroute.cache.semantic.guards.lexicon import ALTERNATIVES, ANTONYMS
from entroute.cache.semantic.guards.reading import Reading, stem

_REVERSING = ("un", "in", "im", "ir", "il", "dis", "de", "non", "mis", "anti", "counter")
_MIRRORED = (
    ("up", "down"),
    ("over", "under"),
    ("pre", "post"),
    ("in", "out"),
    ("in", "ex"),
    ("im", "ex"),
    ("max", "min"),
    ("intro", "extra"),
    ("intra", "inter"),
    ("hyper", "hypo"),
    ("macro", "micro"),
    ("en", "de"),
    ("en", "dis"),
    ("as", "des"),
    ("back", "front"),
    ("any", "no"),
    ("any", "every"),
    ("some", "no"),
    ("some", "every"),
    ("mono", "poly"),
    ("uni", "multi"),
    ("single", "multi"),
    ("sub", "super"),
    ("fore", "back"),
    ("for", "back"),
    ("homo", "hetero"),
    ("endo", "exo"),
)
_LEAST = 3


def _pairs() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for left, right in ANTONYMS:
        for x, y in ((left, right), (stem(left), stem(right))):
            found.setdefault(x, set()).add(y)
            found.setdefault(y, set()).add(x)
    return {word: frozenset(others) for word, others in found.items()}


_OPPOSITE = _pairs()
_MEMBER = {
    form: (number, member)
    for number, group in enumerate(ALTERNATIVES)
    for member in group
    for word in member.split("/")
    for form in (word, stem(word))
}


def antonyms(a: Reading, b: Reading) -> bool:
    """Say whether one text alone has a word whose opposite the other has.

    "Best and worst" is not "worst" either.
    """
    return _opposed(a, b) or _opposed(b, a)


def _opposed(a: Reading, b: Reading) -> bool:
    others = b.known - a.known
    return any(
        not _OPPOSITE.get(word, frozenset()).isdisjoint(b.known) or any(_turned(word, others))
        for word in a.known - b.known
    )


def alternatives(a: Reading, b: Reading) -> bool:
    """Say whether the texts choose differently among words that exclude each other."""
    mine, yours = _only(a, b), _only(b, a)
    chosen = {_MEMBER[word] for word in mine if word in _MEMBER}
    others = {_MEMBER[word] for word in yours if word in _MEMBER}
    return any(x[0] == y[0] and x != y for x in chosen for y in others)


def _only(a: Reading, b: Reading) -> frozenset[str]:
    return a.known - b.known


def _turned(word: str, others: Iterable[str]) -> Iterator[bool]:
    """Say of each other word whether a prefix or `-less` makes it the opposite of `word`."""
    for other in others:
        short, long = sorted((word, other), key=len)
        prefix = long.removesuffix(short)
        if len(short) >= _LEAST and prefix != long:
            yield prefix.rstrip("-") in _REVERSING
        elif long.endswith("less") and len(long) > len("less") + _LEAST - 1:
            base = long.removesuffix("less")
            yield short in {base, base + "ful", base + "y", base + "ed"} or other == base + "ful"
        yield _mirrored(word, other) or _mirrored(other, word)


def _mirrored(x: str, y: str) -> bool:
    for one, two in _MIRRORED:
        if x.startswith(one) and y.startswith(two):
            rest = x.removeprefix(one)
            if len(rest) >= _LEAST and rest == y.removeprefix(two):
                return True
    return False
