"""Quantifiers, superlatives and comparatives that one text has and the other has not."""

import re
from itertools import pairwise

from entroute.cache.semantic.guards.reading import Reading, word_set

_SAME = {
    "every": "all",
    "each": "all",
    "entire": "all",
    "whole": "all",
    "everything": "all",
    "everyone": "all",
    "everybody": "all",
    "solely": "only",
    "exclusively": "only",
    "merely": "only",
    "final": "last",
    "1st": "first",
    "fewest": "least",
    "rarely": "seldom",
    "frequently": "often",
    "nearly": "about",
    "approximately": "about",
    "roughly": "about",
    "around": "about",
    "newest": "latest",
    "besides": "other",
    "another": "other",
    "else": "other",
    "precisely": "exactly",
    "biggest": "largest",
}
_STRICT = word_set(
    """
    all only first last both neither always exactly seldom sometimes often other same half
    most least again still already yet except latest least few several next previous more
    less fewer max min maximum minimum average total
    """
)
_SUPERLATIVE = re.compile(r"^[a-z]{3,}est$")
_NO_SUPERLATIVE = word_set(
    """
    test request interest rest guest forest suggest west best nest invest protest contest
    digest honest harvest manifest priest chest quest arrest modest conquest crest ingest
    everest midwest southwest northwest budapest pytest retest zest vest jest pest greatest
    """
)
_BOUND = re.compile(
    r"\b(over|under|above|below|up to|within|until|by|almost|nearly|about|around)"
    r"\s+(?=[$€£]?\d)"
)
_COMPARATIVE_BEFORE = "than"


def differs(a: Reading, b: Reading) -> bool:
    """Say whether a quantifier, superlative or comparison is in one text alone."""
    return _found(a) != _found(b)


def _found(text: Reading) -> frozenset[str]:
    words = [_SAME.get(word, word) for word in text.words]
    found = {word for word in words if word in _STRICT}
    found |= {w for w in words if _SUPERLATIVE.match(w) and w not in _NO_SUPERLATIVE}
    found |= {
        word
        for word, following in pairwise(words)
        if following == _COMPARATIVE_BEFORE and word.endswith("er")
    }
    found |= {" ".join(bound.split()) + " a number" for bound in _BOUND.findall(text.prose.lower())}
    return frozenset(found)
