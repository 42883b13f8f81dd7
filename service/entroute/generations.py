"""The application that a server runs: its generations, of which the latest takes what is new."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from fastapi import FastAPI
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from entroute.errors import ShuttingDown
from entroute.lasting import Lasting
from entroute.settings import Settings

_LOG = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Living:
    """A generation that is connected, and the requests that it is answering."""

    app: FastAPI
    stack: AsyncExitStack
    open: int = 0
    left: bool = False
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, change: int) -> None:
        """Count a request that begins (1), ends (-1), or the end of new ones (0)."""
        self.open += change
        if self.left and not self.open:
            self.idle.set()


class Generations:
    """An ASGI application that is replaced while it runs.

    A request is answered by the generation that took it, however long that takes; an earlier
    generation is closed when its last request has ended.

    Args:
        first: The generation to begin with.

    Attributes:
        lasting: What goes on from one to the next.
    """

    def __init__(self, first: FastAPI) -> None:
        self.lasting: Lasting = first.state.lasting
        self._first = first
        self._current: _Living | None = None
        self._closing = False
        self._closers: set[asyncio.Task[None]] = set()
        self._router = Router(lifespan=self._life)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the current generation answer."""
        if scope["type"] == "lifespan":
            await self._router.lifespan(scope, receive, send)
            return
        living = self._current
        if living is None:
            raise RuntimeError("not started")
        living.note(1)
        try:
            await living.app(scope, receive, send)
        finally:
            living.note(-1)

    async def replace(self, app: FastAPI) -> None:
        """Connect a generation, then let it take what is new: all at once, or not at all.

        Raises:
            ShuttingDown: The server has been asked to stop meanwhile.
        """
        living = await _begun(app)
        if self._closing:
            await living.stack.aclose()
            raise ShuttingDown
        earlier, self._current = self._current, living
        if earlier is not None:
            task = asyncio.create_task(_closed_when_idle(earlier), name="generation-closing")
            self._closers.add(task)
            task.add_done_callback(self._closers.discard)

    @property
    def settings(self) -> Settings:
        """The configuration of the current generation."""
        app = self._first if self._current is None else self._current.app
        settings: Settings = app.state.settings
        return settings

    @asynccontextmanager
    async def _life(self, _: object) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await self.lasting.start(stack)
            self._current = await _begun(self._first)
            stack.push_async_callback(self._close)
            yield

    async def _close(self) -> None:
        """Close every generation; their requests have ended."""
        self._closing = True
        closers = tuple(self._closers)
        for task in closers:
            task.cancel()
        await asyncio.gather(*closers, return_exceptions=True)
        if self._current is not None:
            await self._current.stack.aclose()


async def _begun(app: FastAPI) -> _Living:
    stack = AsyncExitStack()
    await stack.enter_async_context(app.router.lifespan_context(app))
    return _Living(app, stack)


async def _closed_when_idle(living: _Living) -> None:
    living.left = True
    living.note(0)
    try:
        await living.idle.wait()
    finally:
        try:
            await living.stack.aclose()
        except Exception:  # noqa: BLE001 - in the background: nobody else would hear of it
            _LOG.exception("an earlier generation of the configuration was not closed cleanly")
