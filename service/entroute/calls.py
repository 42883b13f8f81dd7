"""Calls in flight: their stream, a probe's head start, what they have spent so far."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from entroute.spending import Usage
from entroute.types import Call, Completion, Delta

CallStream = AsyncGenerator[Delta | Completion, None]
"""Deltas as they are made, then exactly one Completion."""


class Head:
    """A stream that a probe has begun and a strategy may go on with.

    Args:
        tier: Tier that makes it.
        call: The call, already reserved.
        seen: What the probe has read, in order.
        rest: The live stream.
    """

    def __init__(
        self, tier: str, call: Call, seen: Sequence[Delta | Completion], rest: CallStream
    ) -> None:
        self.tier = tier
        self.call = call
        self._seen = seen
        self._rest = rest

    async def stream(self) -> CallStream:
        """Replay what was read, then go on."""
        async with aclosing(self._rest):
            for item in self._seen:
                yield item
            async for item in self._rest:
                yield item

    async def close(self) -> None:
        """Cancel the call upstream."""
        await self._rest.aclose()


def spent_with(before: Usage, piece: Delta | Completion) -> Usage:
    """Return what a call has spent after one more piece; partial until the completion."""
    if isinstance(piece, Completion):
        return piece.usage
    if piece.usage is not None:
        return replace(piece.usage, calls=1, partial_calls=1)
    return before + Usage(completion_tokens=len(piece.logprobs) or 1)
