"""Numbers: two texts must name the same values in the same order."""

import re
from collections.abc import Iterator

from entroute.cache.semantic.guards.reading import Reading
from entroute.cache.semantic.guards.units import is_unit

_NUMBER_OR_WORD = re.compile(
    r"(?<![\w.])(?P<sign>[-+])?(?P<value>\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:[.:/-]\d+)*)"
    r"(?P<tail>[a-z%]*)|(?P<word>[a-z]+)",
)
_FOLLOWING = re.compile(r"\s+([a-z]+)")
_NEXT_WORD = re.compile(r"[\s-]*(?:and\s+)?([a-z]+)")
_ROMAN = re.compile(r"\b[IVX]{2,5}\b")
_SMALL = {
    word: value
    for value, words in enumerate(
        [
            "zero",
            "one first",
            "two second twice couple",
            "three third thrice",
            "four fourth",
            "five fifth",
            "six sixth",
            "seven seventh",
            "eight eighth",
            "nine ninth",
            "ten tenth",
            "eleven eleventh",
            "twelve twelfth",
            "thirteen thirteenth",
            "fourteen fourteenth",
            "fifteen fifteenth",
            "sixteen sixteenth",
            "seventeen seventeenth",
            "eighteen eighteenth",
            "nineteen nineteenth",
        ]
    )
    for word in words.split()
}
_TENS = {
    word: value * 10
    for value, words in enumerate(
        [
            "twenty twentieth",
            "thirty thirtieth",
            "forty fortieth",
            "fifty fiftieth",
            "sixty sixtieth",
            "seventy seventieth",
            "eighty eightieth",
            "ninety ninetieth",
        ],
        start=2,
    )
    for word in words.split()
}
_SCALE = {
    "dozen": 12,
    "hundred": 100,
    "thousand": 1000,
    "k": 1000,
    "lakh": 100_000,
    "lakhs": 100_000,
    "million": 10**6,
    "millions": 10**6,
    "mn": 10**6,
    "crore": 10**7,
    "crores": 10**7,
    "billion": 10**9,
    "bn": 10**9,
    "trillion": 10**12,
}
_OTHER = {"half": "0.5", "quarter": "0.25", "double": "2x", "triple": "3x"}
_ORDINAL = ("st", "nd", "rd", "th")
_NO_NUMBER = frozenset({"one", "first", "second", "couple"})
"""Words that are numbers at times: they count only where both texts could mean them."""


def differs(a: Reading, b: Reading) -> bool:
    """Say whether the texts name other values, or the same ones in another order."""
    mine, yours = list(_values(a)), list(_values(b))
    return _without_maybe(mine, yours) != _without_maybe(yours, mine)


def is_number(word: str) -> bool:
    """Say whether a lower-case word is a number or a part of a spelled one."""
    return word[:1].isdigit() or word in _SMALL or word in _TENS or word in _SCALE


def _without_maybe(values: list[tuple[str, bool]], others: list[tuple[str, bool]]) -> list[str]:
    """Return the values but for those that may be no numbers and that the other text lacks."""
    present = {value for value, _ in others}
    return [value for value, sure in values if sure or value in present]


def _values(text: Reading) -> Iterator[tuple[str, bool]]:
    """Yield each value in a canonical form, and whether it surely is one."""
    prose = _ROMAN.sub(lambda match: str(_roman(match.group())), text.prose)
    rest = prose.lower()
    at = 0
    while (found := _NUMBER_OR_WORD.search(rest, at)) is not None:
        if found["word"] is None:
            value, at = _number(rest, found)
            yield value, True
        else:
            value, at = _spelled(rest, found)
            if value:
                yield value, found["word"] not in _NO_NUMBER or at > found.end()


def _number(rest: str, match: re.Match[str]) -> tuple[str, int]:
    """Return the canonical form of digits and of a scale that follows, and where they end."""
    value, tail, end = match["value"].replace(",", ""), match["tail"], match.end()
    sign = "-" if match["sign"] == "-" else ""
    plain = re.fullmatch(r"\d+(?:\.\d+)?", value) is not None
    if not plain:
        return sign + value + tail, end
    following = _FOLLOWING.match(rest, end)
    scale = _SCALE.get(tail, 1)
    if not tail and following and following[1] in _SCALE:
        scale, end = _SCALE[following[1]], following.end()
    if not tail and "." in value and scale == 1:
        return sign + value, end  # 3.10 may be a version: not 3.1
    unit = "" if scale > 1 or tail in _ORDINAL or is_unit(tail) else tail
    return sign + f"{float(value) * scale:g}" + unit, end


def _spelled(rest: str, match: re.Match[str]) -> tuple[str, int]:
    """Return the value of a spelled number from its first word on, "" when there is none."""
    total, current, end, found = 0.0, 0.0, match.start(), False
    while (word := _NEXT_WORD.match(rest, end)) is not None:
        name = word[1]
        if name in _SMALL or name in _TENS:
            current += _SMALL.get(name, _TENS.get(name, 0))
        elif name in _SCALE and len(name) > len("bn"):
            current = max(current, 1) * _SCALE[name]
            if _SCALE[name] > _SCALE["hundred"]:
                total, current = total + current, 0.0
        else:
            break
        found, end = True, word.end()
    if found:
        return f"{total + current:g}", end
    return _OTHER.get(match.group(), ""), match.end()


def _roman(numeral: str) -> int:
    values = [{"I": 1, "V": 5, "X": 10}[letter] for letter in numeral]
    return sum(
        -value if value < following else value
        for value, following in zip(values, [*values[1:], 0], strict=True)
    )
