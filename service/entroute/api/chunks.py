"""Chat and text completions as OpenAI's clients read them: whole, or in chunks up to `[DONE]`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from entroute.api import errors
from entroute.api.render import Rendering
from entroute.api.sse import Item, encode
from entroute.evidence import Outcome, Trace
from entroute.types import Delta

_DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Chunks:
    """Writes one completion; see `Writing`.

    An error after the first byte is an event, and the stream then ends without `[DONE]`.

    Attributes:
        rendering: The answer's bodies.
        include_usage: Whether a chunk of usage ends a stream.
    """

    rendering: Rendering
    include_usage: bool

    @property
    def trace(self) -> Trace:
        """The request's trace."""
        return self.rendering.trace

    def whole(self, outcome: Outcome) -> Mapping[str, Any]:
        """Return the body of a whole answer."""
        return self.rendering.body(outcome)

    def events(self, item: Item) -> bytes:
        """Return the chunks of one item."""
        if isinstance(item, Delta):
            pieces = self.rendering.chunks(item)
            if self.include_usage:
                pieces = [{**piece, "usage": None} for piece in pieces]
            return b"".join(encode(piece) for piece in pieces)
        chunks = self.rendering.last_chunks(item, include_usage=self.include_usage)
        return b"".join(encode(chunk) for chunk in chunks)

    def end(self) -> bytes:
        """Return `[DONE]`."""
        return _DONE

    def failed(self, error: Exception) -> bytes:
        """Return the error as the last event."""
        return errors.event(error)
