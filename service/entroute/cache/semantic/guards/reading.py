"""A text as the guards read it: code and quotations apart, words with their contractions undone."""

import re
from dataclasses import dataclass
from functools import cached_property
from unicodedata import normalize

_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)
_QUOTED = re.compile(r"\"([^\"\n]+)\"|(?<!\w)'([^'\n]+)'(?!\w)")
_TOKEN = re.compile(
    r"https?://[^\s,;]+|[@#]\w[\w.-]*|(?:~|\.{1,2})?/\w[\w./-]*|\w+(?:[.'_:/@+-]\w+)*(?:\+\+|#)?"
)
_GREETING = re.compile(r"\A\s*(?:hi|hello|hey|thanks|thank you)\b[\s,.!]*", re.IGNORECASE)
_POLITE = re.compile(
    r"\b(?:can|could|would|will) you (?:please )?"
    r"(?=(?:tell|explain|describe|give|show|help|write|list|recommend|suggest)\b)",
    re.IGNORECASE,
)
_COUNTED = re.compile(r"(?<=\d)-(?=[A-Za-z])")
_ONE_NAME = tuple(
    (name, re.compile(rf"(?<!\w)(?:{written})(?!\w)"))
    for name, written in (
        ("USA", r"(?i:the )?(?i:united states(?: of america)?|u\.s\.a\.?|u\.s\.?)|(?:the )?US"),
        ("UK", r"(?i:united kingdom|u\.k\.?)"),
        ("EU", r"(?i:european union)"),
        ("NYC", r"(?i:new york city)"),
        ("AI", r"(?i:artificial intelligence)"),
        ("ML", r"(?i:machine learning)"),
        ("JavaScript", r"(?i:js)"),
        ("Kubernetes", r"(?i:k8s)"),
        ("PostgreSQL", r"(?i:postgres)"),
        ("television", r"(?i:tv)"),
    )
)
_SENTENCE = re.compile(r"[.?!]+\s+|\n+")
_SPACES = re.compile(r"\s+")
_IRREGULAR = {"can't": "can not", "cannot": "can not", "won't": "will not", "shan't": "shall not"}
_CONTRACTED = {"re": "are", "ll": "will", "ve": "have", "m": "am", "d": "would"}
_IS_AFTER = frozenset({"what", "who", "where", "when", "how", "why", "it", "that", "there", "he"})
_CURLY = str.maketrans({chr(0x2019): "'", chr(0x2018): "'", chr(0x201C): '"', chr(0x201D): '"'})


@dataclass(frozen=True)
class Reading:
    """A text in parts, each computed once when a guard first asks.

    Attributes:
        text: The text in Unicode's normal form C, curly quotes made straight.
    """

    text: str

    @cached_property
    def code(self) -> tuple[str, ...]:
        """Fenced and inline code in order, white space between symbols made one blank."""
        return tuple(_SPACES.sub(" ", part.strip("`")).strip() for part in _CODE.findall(self.text))

    @cached_property
    def prose(self) -> str:
        """The text without its code, greetings and polite openings, one name for one thing."""
        text = _GREETING.sub("", _POLITE.sub("", _CODE.sub(" ", self.text)))
        text = _COUNTED.sub(" ", text)
        for name, written in _ONE_NAME:
            text = written.sub(name, text)
        return text

    @cached_property
    def quotations(self) -> tuple[str, ...]:
        """What stands in quotation marks, in order."""
        found = _QUOTED.findall(self.prose)
        return tuple(_SPACES.sub(" ", double or single).strip() for double, single in found)

    @cached_property
    def sentences(self) -> tuple[tuple[str, ...], ...]:
        """The tokens of each sentence as written."""
        parts = (_TOKEN.findall(part) for part in _SENTENCE.split(self.prose))
        return tuple(tuple(tokens) for tokens in parts if tokens)

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """All tokens as written."""
        return tuple(token for sentence in self.sentences for token in sentence)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Lower-case words, contractions undone, possessives and pluralising `s` kept."""
        return tuple(word for token in self.tokens for word in plain(token))

    @cached_property
    def stems(self) -> tuple[str, ...]:
        """The words without their endings."""
        return tuple(stem(word) for word in self.words)

    @cached_property
    def known(self) -> frozenset[str]:
        """Words, stems and the parts of hyphenated words."""
        parts = (part for word in self.words for part in re.split(r"[-/.]", word))
        return frozenset((*self.words, *self.stems, *map(stem, parts)))


def word_set(text: str) -> frozenset[str]:
    """Return the words of a list that is written as a text."""
    return frozenset(text.split())


def read(text: str) -> Reading:
    """Return a text ready for the guards."""
    return Reading(normalize("NFC", text).translate(_CURLY))


def plain(token: str) -> tuple[str, ...]:
    """Return a token as lower-case words, a contraction undone."""
    word = token.lower()
    if word in _IRREGULAR:
        return tuple(_IRREGULAR[word].split())
    if word.endswith("n't"):
        return (word[:-3], "not")
    head, apostrophe, tail = word.rpartition("'")
    if apostrophe and tail in _CONTRACTED:
        return (head, _CONTRACTED[tail])
    if apostrophe and tail == "s":
        return (head, "is") if head in _IS_AFTER else (head,)
    return (word,)


_ENDINGS = (
    ("iness", "y"),
    ("ies", "y"),
    ("ied", "y"),
    ("ying", "y"),
    ("sses", "ss"),
    ("xes", "x"),
    ("shes", "sh"),
    ("ches", "ch"),
    ("ings", ""),
    ("ing", ""),
    ("ed", ""),
    ("es", "e"),
    ("s", ""),
)
_LEAST = 3
_KEPT = ("ss", "us", "is", "eed")
_VOWELS = frozenset("aeiouy")


def stem(word: str) -> str:
    """Return a word without the endings of number, tense and participle.

    Cruder than Porter's on purpose: what makes another word (`-less`, `-ful`, `un-`) stays.
    """
    if not word.isalpha() or word.endswith(_KEPT):
        return word
    for ending, instead in _ENDINGS:
        root = word.removesuffix(ending)
        if root != word and len(root + instead) >= _LEAST and not _VOWELS.isdisjoint(root):
            return _undoubled(root + instead)
    return _undoubled(word)


def _undoubled(word: str) -> str:
    if len(word) > _LEAST and word[-1] == word[-2] and word[-1] not in "lsze":
        return word[:-1]
    return word.removesuffix("e") if len(word) > _LEAST else word
