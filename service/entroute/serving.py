"""`entroute serve`: engines first, then the server, until a signal says stop."""

import asyncio
import errno
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI

from entroute.app import create_app
from entroute.embedded.weights import Weights
from entroute.errors import ConfigurationError
from entroute.settings import Settings, TierSettings


class _Server(uvicorn.Server):
    """Says that it is draining as soon as it is asked to stop, and when it is ready."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._entroute = app.state.entroute
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then tell."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Turn unready at once; open requests go on, until a second Ctrl-C.

        uvicorn would raise the signal again once it is done, so that the process died of it:
        engines would not be stopped and the exit code would not be 0.
        """
        self._entroute.draining = True
        self.force_exit = self.force_exit or (self.should_exit and sig == signal.SIGINT)
        self.should_exit = True


async def serve(
    settings: Settings,
    weights: Weights,
    *,
    starting: Callable[[Sequence[TierSettings]], None],
    ready: Callable[[str], None],
) -> None:
    """Run the gateway until SIGTERM or SIGINT.

    Args:
        settings: The configuration.
        weights: Where catalogue models are kept.
        starting: Told which engines are about to start.
        ready: Told the base URL once requests are taken.

    Raises:
        ConfigurationError: The port is in use, or the host is not this machine's.
        WeightsError, EngineError: An engine cannot be started.
    """
    listener = listening(settings.server.host, settings.server.port)
    try:
        async with _engines(settings, weights, starting) as urls:
            app = create_app(settings, engine_urls=urls)
            config = uvicorn.Config(
                app,
                http="httptools",
                loop="none",
                access_log=False,
                log_config=None,
                server_header=False,
                timeout_graceful_shutdown=max(1, round(settings.server.drain_s)),
                h11_max_incomplete_event_size=settings.server.max_header_bytes,
            )
            url = f"http://{settings.server.host}:{listener.getsockname()[1]}"
            await _Server(config, app, lambda: ready(url)).serve([listener])
    finally:
        listener.close()


def listening(host: str, port: int) -> socket.socket:
    """Return a socket bound to the address, before anything slow is started.

    Raises:
        ConfigurationError: It cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            message = (
                f"server.port: {port} on {host} is in use; stop what listens there or give another"
            )
        else:
            message = f"server.host: cannot listen on {host}:{port}: {error.strerror or error}"
        raise ConfigurationError(message) from error
    return listener


@asynccontextmanager
async def _engines(
    settings: Settings, weights: Weights, starting: Callable[[Sequence[TierSettings]], None]
) -> AsyncIterator[dict[str, str]]:
    """Start every tier's engine, all at the same time; stop them on the way out."""
    owning = [tier for tier in settings.tiers if tier.engine is not None]
    engines = {
        tier.name: await asyncio.to_thread(
            tier.engine.build, tier.model, len(owning), weights.resolve
        )
        for tier in owning
        if tier.engine is not None
    }
    if owning:
        starting(owning)
    async with AsyncExitStack() as stack:
        for engine in engines.values():
            stack.push_async_callback(engine.stop)
        async with asyncio.TaskGroup() as group:
            for engine in engines.values():
                group.create_task(engine.start())
        yield {name: engine.url for name, engine in engines.items()}
