"""Whose: my favourite song is not yours."""

from entroute.cache.semantic.guards.reading import Reading

_OWNERS = {
    "my": "i",
    "mine": "i",
    "our": "i",
    "your": "you",
    "yours": "you",
    "one's": "you",
    "his": "he",
    "her": "she",
    "hers": "she",
    "their": "they",
    "theirs": "they",
}
_SUBJECTS = {"i": "i", "me": "i", "we": "i", "us": "i", "you": "you", "one": "you", "people": "you"}


def differs(a: Reading, b: Reading) -> bool:
    """Say whether the texts speak of different owners.

    "How do I train my dog" asks what "how do you train your dog" asks: anybody's. But where only
    the owner changes, somebody in particular is meant.
    """
    mine, yours = _owners(a), _owners(b)
    if not mine or not yours or mine == yours:
        return False
    return not (_anybodys(mine, a) and _anybodys(yours, b))


def _anybodys(owners: frozenset[str], text: Reading) -> bool:
    subjects = frozenset(_SUBJECTS[word] for word in text.words if word in _SUBJECTS)
    return owners <= subjects <= {"i", "you"}


def _owners(text: Reading) -> frozenset[str]:
    return frozenset(_OWNERS[word] for word in text.words if word in _OWNERS)
