"""A backend that does what its script says, and the tokens it is made of."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from math import log
from typing import Any

from entroute.calls import CallStream
from entroute.errors import WorkerProtocolError
from entroute.spending import Usage
from entroute.types import (
    Call,
    Completion,
    Delta,
    TokenLogprob,
)

PROMPT_TOKENS = 10
"""What every fake call reads."""


SURE = 0.999


UNSURE = 0.5  # entropy ln 2 and so a confidence of 0.5


async def collect(stream: CallStream) -> Completion:
    """Read a call to its end and return its completion.

    Raises:
        WorkerProtocolError: The stream ended without one.
    """
    async with aclosing(stream):
        async for item in stream:
            if isinstance(item, Completion):
                return item
    raise WorkerProtocolError("?", "the stream ended without a completion")


@dataclass(slots=True)
class FakeClock:
    """Monotonic seconds that pass when told."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def token(logprob: float, tops: Sequence[float] = (), text: str = "w") -> TokenLogprob:
    """Return one token as OpenAI's chat schema has it, log-probabilities in nats."""
    ranked = [{"token": f"{text}{rank}", "logprob": p, "bytes": []} for rank, p in enumerate(tops)]
    return {"token": text, "logprob": logprob, "bytes": [], "top_logprobs": ranked}


def coin(p: float, text: str = "w") -> TokenLogprob:
    """Return a token of probability `p` where one other token has the rest."""
    return token(log(p), sorted((log(p), log(1 - p)), reverse=True), text)


@dataclass(frozen=True, slots=True)
class Script:
    """What one fake call does; its pieces are one token each.

    Attributes:
        pieces: The answer's text.
        p: Probability of each token, in (0, 1).
        error: Raised after `until` pieces.
        until: How many pieces come before the error or the hang, None for all.
        hangs: Whether it waits for ever after `until` pieces.
        gate: Awaited before the first piece.
        prompt_tokens: What the call reads.
        extra: Other fields of the message.
        finish_reason: Why it ends.
    """

    pieces: tuple[str, ...] = ("6 times ", "7 is ", "42")
    p: float = SURE
    error: Exception | None = None
    until: int | None = None
    hangs: bool = False
    gate: asyncio.Event | None = None
    prompt_tokens: int = PROMPT_TOKENS
    extra: Mapping[str, Any] = field(default_factory=dict)
    finish_reason: str = "stop"


def says(*pieces: str, **facts: Any) -> Script:
    """Return the script of an answer."""
    return Script(pieces, **facts)


def unsure(*pieces: str, **facts: Any) -> Script:
    """Return the script of an answer that hesitates at every token."""
    return Script(pieces, p=UNSURE, **facts)


def fails(error: Exception, *, after: int = 0, **facts: Any) -> Script:
    """Return the script of a call that fails after some pieces."""
    return Script(error=error, until=after, **facts)


def hangs(after: int = 0, **facts: Any) -> Script:
    """Return the script of a call that never ends by itself."""
    return Script(hangs=True, until=after, **facts)


class FakeBackend:
    """Answers calls by scripts, one a call, the last one for all further calls.

    Attributes:
        calls: Every call, in order.
        cancelled: Ids of the calls that were given up before they ended.
        running: Calls that are being answered.
    """

    def __init__(
        self,
        *scripts: Script,
        tier: str = "small",
        logprobs: bool = True,
        continuous: bool = True,
        clock: FakeClock | None = None,
    ) -> None:
        self.calls: list[Call] = []
        self.cancelled: list[int] = []
        self.running = 0
        self._scripts = scripts or (Script(),)
        self._tier = tier
        self._logprobs = logprobs
        self._continuous = continuous
        self._clock = clock

    async def complete(self, call: Call) -> Completion:
        """Answer at once."""
        return await collect(self.stream(call))

    async def stream(self, call: Call) -> CallStream:
        """Answer piece by piece; a piece takes a second of the fake clock."""
        script = self._scripts[min(len(self.calls), len(self._scripts) - 1)]
        self.calls.append(call)
        self.running += 1
        try:
            async with aclosing(self._pieces(script, call)) as pieces:
                async for piece in pieces:
                    yield piece
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled.append(call.id)
            raise
        finally:
            self.running -= 1

    async def _pieces(self, script: Script, call: Call) -> CallStream:
        if script.gate is not None:
            await script.gate.wait()
        made: list[Delta] = []
        until = len(script.pieces) if script.until is None else script.until
        cap = len(script.pieces) if call.max_tokens is None else call.max_tokens
        for text in script.pieces[: min(until, cap)]:
            await asyncio.sleep(0)
            if self._clock is not None:
                self._clock.advance(1.0)
            made.append(self._delta(script, call, text, len(made) + 1))
            yield made[-1]
        if script.error is not None:
            await asyncio.sleep(0)
            raise script.error
        if script.hangs:
            await asyncio.Event().wait()
        yield self._completion(script, call, made)

    def _delta(self, script: Script, call: Call, text: str, made: int) -> Delta:
        wanted = call.top_logprobs is not None or call.request.logprobs
        usage = Usage(script.prompt_tokens, 0, made, 1) if self._continuous else None
        tokens = (coin(script.p, text),) if wanted and self._logprobs else ()
        return Delta(text, logprobs=tokens, usage=usage, tier=self._tier)

    def _completion(self, script: Script, call: Call, made: Sequence[Delta]) -> Completion:
        return Completion(
            content="".join(delta.content for delta in made),
            finish_reason=script.finish_reason,
            usage=Usage(script.prompt_tokens, 0, len(made), 1),
            tier=self._tier,
            model=f"{self._tier}-model",
            worker="http://fake/v1",
            extra=script.extra,
            logprobs=tuple(entry for delta in made for entry in delta.logprobs),
            call_id=call.id,
        )
