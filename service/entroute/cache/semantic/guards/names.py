"""Names: people, places, products, handles, addresses, paths and identifiers."""

import re
from collections.abc import Iterator

from entroute.cache.semantic.guards.reading import Reading, stem, word_set

_ORDINARY = word_set(
    """
    i i'm i'd i've i'll a ok okay q ps etc am pm mr mrs ms dr vs
    """
)
_LETTERS_AND_DIGITS = re.compile(r"(?=.*[a-z])(?=.*\d)", re.IGNORECASE)
_SPECIAL = re.compile(
    r"^[@#/~]|^\.{1,2}/|^https?://|_|::|\w\.\w+\.|\w\.(?:com|org|net|io|py|js|ts)$"
)
_NUMERAL = re.compile(r"\d[\d.,:/-]*[A-Za-z%]*|[IVX]{2,5}")
_HUMP = re.compile(r"[a-z][A-Z]")
_TITLE_SHARE = 0.6
_LONG = 4


def differs(a: Reading, b: Reading) -> bool:
    """Say whether one text names something that the other does not."""
    return any(_unmet(name, b) for name in _names(a)) or any(_unmet(name, a) for name in _names(b))


def _names(text: Reading) -> Iterator[str]:
    """Yield what is written like a name; a sentence's first word is, whatever it means."""
    titled = _titled(text)
    for sentence in text.sentences:
        for place, token in enumerate(sentence):
            # Numbers, Roman ones too, have a guard of their own.
            if token.lower() in _ORDINARY or _NUMERAL.fullmatch(token):
                continue
            shouted = token.isupper() and len(token) > 1 and not _shouting(sentence)
            capital = place > 0 and not titled and token[0].isupper()
            if _is_special(token) or shouted or capital:
                yield token


def _is_special(token: str) -> bool:
    return bool(
        _SPECIAL.search(token) or _HUMP.search(token) or _LETTERS_AND_DIGITS.match(token)
    ) or token.endswith(("++", "#"))


def _titled(text: Reading) -> bool:
    """Whether Most Words Begin Like Names, which then says nothing."""
    long = [token for token in text.tokens if len(token) >= _LONG]
    capitals = sum(token[0].isupper() for token in long)
    return len(long) >= _LONG and capitals > _TITLE_SHARE * len(long)


def _shouting(sentence: tuple[str, ...]) -> bool:
    return sum(token.isupper() for token in sentence) > len(sentence) / 2


def _unmet(name: str, text: Reading) -> bool:
    """Whether a text knows a name in no form."""
    if name in text.tokens:
        return False
    if _is_special(name):
        lower = name.lower()
        joined = lower.replace("-", "").replace(".", "")
        return lower not in text.words and joined not in text.words and lower not in text.known
    if name.isupper():
        plain = name.lower() in text.words or f"{name}s" in text.tokens  # HTTPS is not HTTP
    else:
        plain = not text.known.isdisjoint(_forms(name))
    return not plain


def _forms(name: str) -> Iterator[str]:
    lower = name.lower().removesuffix("'s").removesuffix("'")
    yield from (lower, stem(lower), lower.replace(".", ""), lower.replace("-", ""))
    if "-" in lower or "/" in lower:
        yield from (stem(part) for part in re.split(r"[-/]", lower)[:1])
