"""A server process: a whole gateway on a socket that it has from its supervisor."""

import asyncio
import os
import pickle
import signal
import socket
import threading
import time
from collections.abc import Sequence

import uvloop
from fastapi import FastAPI

from entroute.app import create_app
from entroute.errors import EntrouteError
from entroute.generations import Generations
from entroute.lasting import Lasting
from entroute.processes.frames import Kind, received
from entroute.processes.membership import Membership
from entroute.processes.portions import portion
from entroute.processes.server_process import Start
from entroute.processes.supervisor import LATE_S
from entroute.reloading import Hangups, Reloader, Source
from entroute.serving import run_app
from entroute.settings import Settings
from entroute.telemetry.logs import configure_logs


def main(arguments: Sequence[str]) -> int:
    """Answer until a signal says stop, or until the supervisor is gone.

    Args:
        arguments: Descriptors of the channel to the supervisor and of the listening socket.

    Returns:
        The exit status.
    """
    hangups = Hangups()
    hangups.install()  # early: the signal would end the process
    channel, listener = (socket.socket(fileno=int(each)) for each in arguments)
    for each in (channel, listener):
        each.set_inheritable(False)  # a sandbox that outlives us must hold neither
    return uvloop.run(_run(channel, listener, hangups))


async def _run(channel: socket.socket, listener: socket.socket, hangups: Hangups) -> int:
    reader, writer = await asyncio.open_unix_connection(sock=channel)
    frame = await received(reader)
    if frame is None or frame.kind is not Kind.START:
        return 1  # the supervisor has gone before it said anything
    start: Start = pickle.loads(frame.payload)  # noqa: S301 - from who started this process
    server = start.settings.server
    configure_logs(server.log_level, process=start.number)
    _end_with_supervisor(server.drain_delay_s + server.drain_s + LATE_S)
    membership = Membership(reader, writer)

    def build(settings: Settings, lasting: Lasting | None = None) -> FastAPI:
        return create_app(
            settings,
            engine_urls=start.engine_urls,
            metrics_page=membership.page,
            lasting=lasting,
        )

    given = portion(start.settings)
    try:
        generations = Generations(build(given))
    except EntrouteError as error:
        return await membership.failed(error)
    registry = generations.lasting.metrics.registry

    def reload(pickled: bytes) -> None:
        nonlocal given
        given = portion(pickle.loads(pickled))  # noqa: S301 - as above
        hangups.pending = True

    attending = asyncio.create_task(membership.attend(registry, reload))
    # Read by the supervisor, once for all: a signal to this process alone changes nothing.
    reloader = Reloader(generations, Source(lambda: given, hangups), build)
    try:
        await run_app(generations, listener, membership.ready, reloader)
    finally:
        attending.cancel()
        await asyncio.wait([attending])
    await membership.tell(registry)  # all of it: nobody asks any more
    await membership.close()
    return 0


def _end_with_supervisor(patience_s: float) -> None:
    """Stop when the standard input ends, as it does with the supervisor, however that ends."""

    def wait() -> None:
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(patience_s)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True, name="leash").start()
