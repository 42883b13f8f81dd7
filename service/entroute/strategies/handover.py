"""Where an answer may change hands: what a call has sent and its reader has not seen yet.

A chat template trims the message that a worker is to go on with, and a tokeniser cuts it anew.
So text is released up to the end of a token that ends in neither whitespace nor half a character,
and no further: at a hand-over what was released is what the next worker reads, and what was not is
dropped, for the next worker to write its own.
"""

from collections import deque
from dataclasses import dataclass

from entroute.types import Delta, TokenLogprob

HALF = "\ufffd"
"""How engines write bytes that are no whole character yet."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some tokens and the text that they make.

    Attributes:
        text: May be empty.
        tokens: How many they are.
        logprobs: Of the tokens, in order; empty where the worker sent none.
    """

    text: str = ""
    tokens: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(slots=True)
class _Token:
    """What came as a token: its characters, its log-probability if one came, and how many it is.

    llama.cpp sends a character that took several tokens as one.
    """

    length: int
    entry: TokenLogprob | None
    count: int = 1


class Tail:
    """The end of one call's text that is not released yet.

    Args:
        in_step: Whether a piece's text is that of its tokens. Engines that look for stop strings
            hold text back while its log-probabilities go ahead: then tokens are matched with the
            text by their own words.
    """

    def __init__(self, *, in_step: bool) -> None:
        self._in_step = in_step
        self._text = ""
        self._tokens: deque[_Token] = deque()

    def add(self, piece: Delta, tokens: int) -> None:
        """Take one piece, which took so many tokens."""
        self._text += piece.content
        if not piece.logprobs:
            if piece.content:
                self._tokens.append(_Token(len(piece.content), None, tokens))
            return
        new = [_Token(_characters(entry), entry) for entry in piece.logprobs]
        new[-1].count += max(0, tokens - len(new))
        self._tokens.extend(new)
        if self._in_step:
            _fit(new, len(piece.content))
        else:
            # Text beyond what the tokens say: a character that several of them make together.
            said = sum(token.length for token in self._tokens)
            new[-1].length += max(0, len(self._text) - said)

    def ready(self) -> Stretch:
        """Take what may be released: up to the last token after which the answer may change hands.

        Tokens that have made no text yet wait for those that complete the character.
        """
        count = place = end = 0
        for number, token in enumerate(self._tokens, 1):
            place += token.length
            if place > len(self._text):
                break
            if token.length and not self._open(place):
                count, end = number, place
        return self._take(count, end)

    def rest(self) -> Stretch:
        """Take everything, for a call that has ended by itself."""
        return self._take(len(self._tokens), len(self._text))

    def _open(self, end: int) -> bool:
        last = self._text[end - 1]
        return last.isspace() or last == HALF

    def _take(self, count: int, end: int) -> Stretch:
        taken = [self._tokens.popleft() for _ in range(count)]
        text, self._text = self._text[:end], self._text[end:]
        entries = tuple(token.entry for token in taken if token.entry is not None)
        return Stretch(text, sum(token.count for token in taken), entries)


def _characters(entry: TokenLogprob) -> int:
    """Return how many characters a token makes; 0 where it holds a part of one."""
    word = str(entry.get("token", ""))
    return 0 if HALF in word else len(word)


def _fit(tokens: list[_Token], characters: int) -> None:
    """Make tokens add up to the characters that came with them."""
    left = characters
    for token in tokens:
        token.length = min(token.length, left)
        left -= token.length
    tokens[-1].length += left
