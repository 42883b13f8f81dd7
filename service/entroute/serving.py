"""`entroute serve`: engines first, then the server, until a signal says stop."""

import errno
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing

import uvicorn
import uvloop
from fastapi import FastAPI

from entroute.api.connections import Bounds, bounded_protocol
from entroute.app import check_files, create_app
from entroute.draining import TOLD_S, DrainingServer
from entroute.embedded.engine import Engine
from entroute.embedded.weights import Weights
from entroute.errors import ConfigurationError
from entroute.fleet import built_engines, running_engines
from entroute.generations import Generations
from entroute.lasting import Lasting
from entroute.reloading import Reloader, Source
from entroute.sandbox.server import StartedSandbox
from entroute.server_settings import ServerSettings
from entroute.settings import Settings
from entroute.tier_settings import TierSettings

Answer = Callable[
    [Settings, socket.socket, Mapping[str, str], Callable[[], None], Source], Awaitable[None]
]
"""Answers on a listening socket until a signal says stop, given engines' base URLs by tier; tells
when requests are taken; reads the configuration again when SIGHUP asks for it."""


async def answer_here(
    settings: Settings,
    listener: socket.socket,
    engine_urls: Mapping[str, str],
    ready: Callable[[], None],
    source: Source,
) -> None:
    """Answer in this process. See `Answer`."""

    def build(settings: Settings, lasting: Lasting | None = None) -> FastAPI:
        return create_app(settings, engine_urls=engine_urls, lasting=lasting)

    generations = Generations(build(settings))
    await run_app(generations, listener, ready, Reloader(generations, source, build))


async def run_app(
    generations: Generations,
    listener: socket.socket,
    ready: Callable[[], None],
    reloader: Reloader,
) -> None:
    """Answer with a gateway on a listening socket until a signal says stop.

    Args:
        generations: The gateway.
        listener: Closed before this returns.
        ready: Told once requests are taken.
        reloader: Makes its next generations.
    """
    config = uvicorn.Config(
        generations,
        http=bounded_protocol(bounds_of(generations.settings.server)),
        ws="none",
        loop="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=TOLD_S,
    )
    drain, how = generations.lasting.drain, lambda: generations.settings.server
    server = DrainingServer(config, drain, how, ready, reloader.tick)
    try:
        await server.serve([listener])
    finally:
        await reloader.close()


def serve(  # noqa: PLR0913 - the last four are keyword-only
    settings: Settings,
    weights: Weights,
    *,
    source: Source,
    starting: Callable[[Sequence[TierSettings]], None],
    ready: Callable[[str], None],
    answer: Answer = answer_here,
) -> None:
    """Run the gateway until SIGTERM or SIGINT.

    What blocks (fetching weights) is done before the event loop runs, so that Ctrl-C ends it.

    Args:
        settings: The configuration.
        weights: Where catalogue models are kept.
        source: Where the configuration comes from.
        starting: Told which engines are about to start.
        ready: Told the base URL once requests are taken.
        answer: Answers once engines run: in this process, or in several.

    Raises:
        ConfigurationError: The port is in use, the host is not this machine's, or the key file is
            wrong.
        WeightsError, EngineError: An engine cannot be started.
        KeyboardInterrupt: Ctrl-C before requests are taken.
    """
    source.hangups.install()  # early: the signal would end the process
    check_files(settings)
    with closing(listening(settings.server.host, settings.server.port, "server.")) as listener:
        engines = built_engines(settings, weights.resolve)
        if engines:
            starting([tier for tier in settings.tiers if tier.name in engines])
        uvloop.run(
            _run(
                settings,
                engines,
                lambda urls, told: answer(settings, listener, urls, told, source),
                lambda: ready(f"http://{settings.server.host}:{listener.getsockname()[1]}"),
            )
        )


async def _run(
    settings: Settings,
    engines: Mapping[str, Engine],
    answer: Callable[[Mapping[str, str], Callable[[], None]], Awaitable[None]],
    ready: Callable[[], None],
) -> None:
    if settings.sandbox is not None:
        await try_out(settings.sandbox.build())
    async with running_engines(engines.values()):
        urls = {name: engine.url for name, engine in engines.items()}
        await answer(urls, ready)


def bounds_of(server: ServerSettings) -> Bounds:
    """Return what one connection may take."""
    return Bounds(server.receive_s, server.send_s, server.max_header_bytes)


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
