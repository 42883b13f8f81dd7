"""Fakes that go on with a partial answer: one story, each worker cutting it in its own tokens."""

import re
from codecs import getincrementaldecoder
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from entroute.calls import CallStream
from entroute.spending import Usage
from entroute.types import Call, Completion, Delta, TokenLogprob
from tests.scripted import PROMPT_TOKENS, SURE, FakeBackend, Script, coin

Cut = Callable[[bytes], list[bytes]]
"""Cuts text into tokens, which may be parts of a character."""


def by_words(text: bytes) -> list[bytes]:
    """Cut as most tokenisers do: a space belongs to the word after it."""
    return re.findall(rb" ?[^ ]+| ", text)


def by_spaces(text: bytes) -> list[bytes]:
    """Give every space a token of its own."""
    return re.findall(rb"[^ ]+| ", text)


def by_bytes(text: bytes) -> list[bytes]:
    """Make every byte a token, so that one character takes several."""
    return [bytes([byte]) for byte in text]


def every(length: int) -> Cut:
    """Return what cuts after every so many bytes."""
    return lambda text: [text[i : i + length] for i in range(0, len(text), length)]


@dataclass(slots=True)
class Seen:
    """One call as its worker saw it.

    Attributes:
        partial: The text it went on with.
        wrote: The text of all tokens it made.
        tokens: How many they were.
    """

    partial: str
    wrote: bytes = b""
    tokens: int = 0


@dataclass(slots=True)
class Hands:
    """What several workers do, in the order of their calls."""

    seen: list[Seen] = field(default_factory=list)


class Continuing(FakeBackend):
    """Tells one story from where a partial answer ends; trims that as chat templates do.

    Args:
        story: The whole answer.
        cut: Its tokeniser.
        certainties: Probability of its n-th token over all calls; the last one for all others.
        hands: Where its calls are noted.
        lag: Characters that its text stays behind its log-probabilities, as for stop strings.
    """

    def __init__(
        self,
        story: str,
        cut: Cut = by_words,
        certainties: Sequence[float] = (SURE,),
        *,
        hands: Hands | None = None,
        lag: int = 0,
        scripts: Sequence[Script] = (),
        logprobs: bool = True,
    ) -> None:
        super().__init__(*scripts, logprobs=logprobs)
        self.hands = hands or Hands()
        self._story = story
        self._cut = cut
        self._certainties = certainties
        self._lag = lag
        self._made = 0

    async def _pieces(self, script: Script, call: Call) -> CallStream:
        if script.error is not None:
            raise script.error
        so_far = call.partial.rstrip()
        assert self._story.startswith(so_far)
        rest = self._story[len(so_far) :].encode()
        seen = Seen(call.partial)
        self.hands.seen.append(seen)
        read = PROMPT_TOKENS + len(self._cut(so_far.encode()))
        tokens = self._cut(rest)
        cap = len(tokens) if call.max_tokens is None else min(call.max_tokens, len(tokens))
        text, sent = "", 0
        entries: list[TokenLogprob] = []
        decoder = getincrementaldecoder("utf-8")("replace")
        for place, token in enumerate(tokens[:cap]):
            text += decoder.decode(token, final=place == cap - 1)
            seen.wrote += token
            seen.tokens += 1
            shown = len(text) if place == cap - 1 else max(sent, len(text) - self._lag)
            entries.append(coin(self._certainty(), token.decode(errors="replace")))
            usage = Usage(read, 0, seen.tokens, 1)
            logprobs = tuple(entries[-1:]) if self._logprobs else ()
            yield Delta(text[sent:shown], logprobs=logprobs, usage=usage, tier=self._tier)
            sent = shown
        yield Completion(
            text,
            "stop" if cap == len(tokens) else "length",
            Usage(read, 0, seen.tokens, 1),
            tier=self._tier,
            logprobs=tuple(entries),
            call_id=call.id,
        )

    def _certainty(self) -> float:
        self._made += 1
        return self._certainties[min(self._made, len(self._certainties)) - 1]
