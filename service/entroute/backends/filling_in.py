"""A tier that fills in: prompt and suffix to the one prompt that its model was trained on."""

from contextlib import aclosing
from dataclasses import replace

from entroute.calls import CallStream
from entroute.protocols import Backend
from entroute.types import Call, Completion, FillInMiddle


class FillingIn:
    """Wraps a tier's backend whose workers do not take a suffix themselves.

    Args:
        backend: What answers.
        tokens: The special tokens of its model.
    """

    def __init__(self, backend: Backend, tokens: FillInMiddle) -> None:
        self._backend = backend
        self._tokens = tokens

    async def complete(self, call: Call) -> Completion:
        """Answer at once. See `Backend.complete`."""
        return await self._backend.complete(self._filled(call))

    async def stream(self, call: Call) -> CallStream:
        """Answer piece by piece. See `Backend.stream`."""
        async with aclosing(self._backend.stream(self._filled(call))) as pieces:
            async for piece in pieces:
                yield piece

    def _filled(self, call: Call) -> Call:
        request = call.request
        if request.suffix is None or request.prompt is None:
            return call
        prompt = self._tokens.prompt(request.prompt, request.suffix)
        return replace(call, request=replace(request, prompt=prompt, suffix=None))
