"""Negation: two texts that deny a different number of things do not ask the same."""

from entroute.cache.semantic.guards.reading import Reading, word_set

NEGATIONS = word_set(
    """
    not no never without none nobody nothing nowhere neither nor hardly barely scarcely lack
    lacks lacking unable except excluding exclude excludes avoid avoids avoiding prevent
    prevents preventing fail fails failing failed refuse refuses stop stops stopping quit
    quits quitting unless instead rather non anti minus ban banned bans
    """
)
"""Words that turn a statement round."""


def negations(text: Reading) -> int:
    """Return how many words of a text deny something."""
    count = 0
    for word in text.words:
        parts = word.split("-") if "-" in word else (word,)
        count += any(part in NEGATIONS for part in parts)
    return count


def differs(a: Reading, b: Reading) -> bool:
    """Say whether one text denies more than the other."""
    return negations(a) != negations(b)
