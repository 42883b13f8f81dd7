"""A conversation's text as features: which words stand in it, and what it looks like.

No word list of any benchmark is in here: what a word is worth is learned. One pass per feature,
no pattern that backtracks, and a cap on the length, so that the time is bounded.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log1p, sqrt

MAX_CHARACTERS = 6_000
"""Read of a text: its first and its last half of that many; a task is stated at either end."""

_TOKEN = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?|\d+|[^\w\s]|_+")
_OPTION = re.compile(r"(?m)^[ \t]{0,4}\(?[A-J][.)][ \t]{0,4}(\S.*)$")
_SENTENCE = re.compile(r"[.!?](?:\s|$)")
_DECIMAL = re.compile(r"\d\.\d")
_LONG_WORD = 8
_LONGEST_WORD = 40  # characters of a word that are kept: base64 is no vocabulary
_LONGEST_NUMBER = 12

_NEGATIONS = frozenset(
    ["not", "except", "no", "never", "false", "none", "without", "least", "cannot"]
)
_CONDITIONS = frozenset(
    [
        "if",
        "each",
        "every",
        "per",
        "twice",
        "half",
        "times",
        "percent",
        "than",
        "remaining",
        "left",
        "rest",
        "most",
        "unless",
        "%",
    ]
)
_FRACTIONS = frozenset(["half", "third", "quarter", "percent", "ratio", "%"])
_NUMBER_WORDS = frozenset(
    [
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "dozen",
        "double",
        "triple",
    ]
)
_EXPLANATIONS = frozenset(["why", "explain", "describe", "discuss"])
_CODE = frozenset(["def", "return", "class", "import", "function", ";", "{", "}", "`", "print"])
_SYMBOLS = frozenset("+-*/=<>^")
_LATEX = frozenset("\\$^")

CHEAP = (
    # look
    "words",
    "characters",
    "numbers",
    "share of digits",
    "mean word length",
    "share of long words",
    "share of capitalised words",
    "acronyms",
    "sentences",
    "lines",
    "largest number",
    "decimals",
    "share beyond ASCII",
    "share of distinct words",
    # options
    "words outside the options",
    "options",
    "option length",
    "spread of option lengths",
    "share of numeric options",
    "options against the rest",
    # cues
    "question marks",
    "commas",
    "brackets",
    "money",
    "quotation marks",
    "code",
    "latex",
    "symbols",
    "negations",
    "conditions",
    "fractions",
    "number words",
    "asks for reasons",
    "blanks",
    "which of the following",
    "numbered statements",
    "how many",
    "how much",
)
"""Names of the cheap features, in the order of `Features.cheap`. Counts are log(1 + count)."""


@dataclass(frozen=True, slots=True)
class Features:
    """What is read off one text.

    Attributes:
        words: Its tokens in lower case, digits folded to their number.
        cheap: The features of `CHEAP`, unscaled.
    """

    words: tuple[str, ...]
    cheap: tuple[float, ...]

    def terms(self) -> Counter[str]:
        """Count tokens and pairs of neighbours."""
        counts = Counter(self.words)
        counts.update(f"{a} {b}" for a, b in pairwise(self.words))
        return counts


def extract(text: str) -> Features:
    """Return the features of a whole conversation's text.

    Only its first and last `MAX_CHARACTERS` / 2 characters are read.
    """
    if len(text) > MAX_CHARACTERS:
        half = MAX_CHARACTERS // 2
        text = f"{text[:half]}\n{text[-half:]}"
    tokens = _TOKEN.findall(text)
    return Features(tuple(map(_folded, tokens)), _cheap(text, tokens))


def _folded(token: str) -> str:
    if token.isdecimal():
        return f"#{min(len(token), 5)}"
    return token[:_LONGEST_WORD].lower()


def _cheap(text: str, tokens: Sequence[str]) -> tuple[float, ...]:
    words = [token for token in tokens if token[0].isalpha()]
    numbers = [token for token in tokens if token[0].isdecimal()]
    return (*_look(text, words, numbers), *_options(text, len(words)), *_cues(text, tokens))


def _look(text: str, words: Sequence[str], numbers: Sequence[str]) -> tuple[float, ...]:
    count, length = max(1, len(words)), max(1, len(text))
    return (
        log1p(len(words)),
        log1p(len(text)),
        log1p(len(numbers)),
        sum(map(len, numbers)) / length,
        sum(map(len, words)) / count,
        sum(len(word) > _LONG_WORD for word in words) / count,
        sum(word[0].isupper() for word in words) / count,
        log1p(sum(len(word) > 1 and word.isupper() for word in words)),
        log1p(len(_SENTENCE.findall(text))),
        log1p(text.count("\n")),
        log1p(max((int(number[:_LONGEST_NUMBER]) for number in numbers), default=0)),
        log1p(len(_DECIMAL.findall(text))),
        0.0 if text.isascii() else sum(character > "\x7f" for character in text) / length,
        len({word.lower() for word in words}) / count,
    )


def _options(text: str, words: int) -> tuple[float, ...]:
    options = _OPTION.findall(text)
    if not options:
        return log1p(words), 0.0, 0.0, 0.0, 0.0, 0.0
    lengths = [len(option) for option in options]
    total = sum(lengths)
    mean = total / len(options)
    spread = sqrt(sum((length - mean) ** 2 for length in lengths) / len(options))
    inside = sum(len(option.split()) for option in options)
    return (
        log1p(max(0, words - inside)),
        float(len(options)),
        log1p(mean),
        log1p(spread),
        sum(any(map(str.isdigit, option)) for option in options) / len(options),
        log1p(total) - log1p(max(0, len(text) - total)),
    )


def _cues(text: str, tokens: Sequence[str]) -> tuple[float, ...]:
    counts = Counter(token.lower() for token in tokens)
    lower = text.lower()

    def of(*cues: str) -> float:
        return log1p(sum(counts[cue] for cue in cues))

    return (
        of("?"),
        of(","),
        of("(", "["),
        of("$"),
        of('"'),
        of(*_CODE),
        of(*_LATEX),
        of(*_SYMBOLS),
        of(*_NEGATIONS),
        of(*_CONDITIONS),
        of(*_FRACTIONS),
        of(*_NUMBER_WORDS),
        float(any(counts[cue] for cue in _EXPLANATIONS)),
        float("_" in text),
        float("which of the following" in lower),
        float("statement 1" in lower or "i only" in lower or "i and ii" in lower),
        float("how many" in lower),
        float("how much" in lower),
    )
