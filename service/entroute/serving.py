"""`entroute serve`: engines first, then the server, until a signal says stop."""

import errno
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from types import FrameType

import uvicorn
import uvloop
from fastapi import FastAPI

from entroute.app import check_files, create_app
from entroute.embedded.engine import Engine
from entroute.embedded.weights import Weights
from entroute.errors import ConfigurationError
from entroute.fleet import built_engines, running_engines
from entroute.sandbox.server import StartedSandbox
from entroute.settings import Settings
from entroute.tier_settings import TierSettings


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


def serve(
    settings: Settings,
    weights: Weights,
    *,
    starting: Callable[[Sequence[TierSettings]], None],
    ready: Callable[[str], None],
) -> None:
    """Run the gateway until SIGTERM or SIGINT.

    What blocks (fetching weights) is done before the event loop runs, so that Ctrl-C ends it.

    Args:
        settings: The configuration.
        weights: Where catalogue models are kept.
        starting: Told which engines are about to start.
        ready: Told the base URL once requests are taken.

    Raises:
        ConfigurationError: The port is in use, the host is not this machine's, or the key file is
            wrong.
        WeightsError, EngineError: An engine cannot be started.
        KeyboardInterrupt: Ctrl-C before requests are taken.
    """
    check_files(settings)
    with closing(listening(settings.server.host, settings.server.port, "server.")) as listener:
        engines = built_engines(settings, weights.resolve)
        if engines:
            starting([tier for tier in settings.tiers if tier.name in engines])
        uvloop.run(_run(settings, listener, engines, ready))


async def _run(
    settings: Settings,
    listener: socket.socket,
    engines: Mapping[str, Engine],
    ready: Callable[[str], None],
) -> None:
    if settings.sandbox is not None:
        await try_out(settings.sandbox.build())
    async with running_engines(engines.values()):
        urls = {name: engine.url for name, engine in engines.items()}
        app = create_app(settings, engine_urls=urls)
        config = uvicorn.Config(
            app,
            http="httptools",
            loop="none",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=max(1, round(settings.server.drain_s)),
        )
        url = f"http://{settings.server.host}:{listener.getsockname()[1]}"
        await _Server(config, app, lambda: ready(url)).serve([listener])


async def try_out(sandbox: StartedSandbox) -> None:
    """Start a sandbox and close it again, before a server that starts another one of its kind.

    What is wrong is then one message: inside the server it would be a traceback.

    Raises:
        ConfigurationError: It cannot be started.
    """
    try:
        await sandbox.start()
    finally:
        await sandbox.close()


def listening(host: str, port: int, source: str) -> socket.socket:
    """Return a socket that listens on the address, before anything slow is started.

    Listening, not just bound: with SO_REUSEADDR others could bind the address meanwhile.

    Args:
        host: This machine's address.
        port: Of TCP, 0 for a free one.
        source: What stands before `host` and `port` where they are set; errors begin with it.

    Raises:
        ConfigurationError: It cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            message = f"port: {port} on {host} is in use; stop what listens there or give another"
        else:
            message = f"host: cannot listen on {host}:{port}: {error.strerror or error}"
        raise ConfigurationError(f"{source}{message}") from error
    return listener
