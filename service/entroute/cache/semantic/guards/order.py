"""Direction: the same words the other way round mean something else."""

from entroute.cache.semantic.guards.content import FILLERS
from entroute.cache.semantic.guards.polarity import NEGATIONS
from entroute.cache.semantic.guards.reading import Reading, word_set

_LISTING = word_set("and or nor the a an")


def differs(a: Reading, b: Reading) -> bool:
    """Say whether two shared words changed places around something that both texts put between.

    What stands between may be a word of direction ("km to miles", "A than B"), a verb ("A attacks
    B"), or nothing in both ("lions eat", "eats lions"). What only `and` or `or` separates is a list
    and has no order.
    """
    mine, yours = _places(a), _places(b)
    shared = sorted(mine.keys() & yours.keys(), key=mine.__getitem__)
    for index, x in enumerate(shared):
        for y in shared[index + 1 :]:
            if yours[x] > yours[y]:
                here = _between(a, mine[x], mine[y])
                there = _between(b, yours[y], yours[x])
                beside = mine[y] == mine[x] + 1 and yours[x] == yours[y] + 1
                if beside or here & there - _LISTING:
                    return True
    return False


def _places(text: Reading) -> dict[str, int]:
    """Return where each content word stands that stands once."""
    found: dict[str, int] = {}
    often: set[str] = set()
    for place, word in enumerate(text.stems):
        if word in FILLERS or word in NEGATIONS:
            continue
        if word in found:
            often.add(word)
        found[word] = place
    return {word: place for word, place in found.items() if word not in often}


def _between(text: Reading, first: int, last: int) -> frozenset[str]:
    """Return the words and stems between two places."""
    return frozenset((*text.words[first + 1 : last], *text.stems[first + 1 : last]))
