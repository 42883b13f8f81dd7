"""Starts the server processes, keeps them running and ends them."""

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from prometheus_client import CollectorRegistry

from entroute.embedded.process import RestartPolicy
from entroute.errors import ServerProcessFailed
from entroute.processes.census import Census
from entroute.processes.reloads import Reloads
from entroute.processes.server_process import ServerProcess, Start
from entroute.protocols import Clock
from entroute.reloading import Source
from entroute.settings import Settings
from entroute.telemetry.processes import ProcessMetrics
from entroute.telemetry.reloads import ReloadMetrics

_LOG = logging.getLogger(__name__)

RESTART = RestartPolicy(first_delay_s=0.1, longest_delay_s=30.0, forgiven_after_s=60.0)
LATE_S = 10.0
"""Seconds after the drain's own time at which a process that has not ended is killed."""


async def answer_in_processes(
    settings: Settings,
    listener: socket.socket,
    engine_urls: Mapping[str, str],
    ready: Callable[[], None],
    source: Source,
) -> None:
    """Answer in as many processes as configured. See `entroute.serving.Answer`.

    Raises:
        ExceptionGroup: Of `ServerProcessFailed`: one cannot be started.
    """
    supervisor = Supervisor(settings, listener, engine_urls, source.reread, time.monotonic)
    try:
        await supervisor.run(ready)
    finally:
        source.hangups.install()  # the signal would end the process while engines stop


class Supervisor:
    """Runs the processes of one gateway until a signal says stop.

    Args:
        settings: The configuration.
        listener: All accept from it; closed when they are asked to stop.
        engine_urls: Base URL by tier, of engines that were started for it.
        reread: Reads the configuration again.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        settings: Settings,
        listener: socket.socket,
        engine_urls: Mapping[str, str],
        reread: Callable[[], Settings],
        clock: Clock,
    ) -> None:
        self._listener = listener
        self._engine_urls = engine_urls
        self._clock = clock
        self._processes: dict[int, ServerProcess] = {}
        self._came = asyncio.Condition()
        self._announced = False
        self._stopping = asyncio.Event()
        registry = CollectorRegistry()
        self._census = Census(registry)
        self._metrics = ProcessMetrics(registry, lambda: self._census.up)
        self._reloads = Reloads(settings, reread, ReloadMetrics(registry), self._hand_on)

    async def run(self, ready: Callable[[], None]) -> None:
        """Return once a signal has said stop and every process has ended.

        Args:
            ready: Told once, when all processes take requests.

        Raises:
            ExceptionGroup: Of `ServerProcessFailed`: one cannot be started.
        """
        loop = asyncio.get_running_loop()
        handlers = {
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
            signal.SIGHUP: lambda _: self._reloads.ask(),
        }
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler, number)
        try:
            async with asyncio.TaskGroup() as group:
                beside = [
                    group.create_task(self._announce(ready)),
                    group.create_task(self._census.watch()),
                    group.create_task(self._reloads.watch()),
                ]
                numbers = range(1, self._reloads.settings.server.processes + 1)
                kept = [group.create_task(self._keep(number)) for number in numbers]
                await asyncio.wait(kept)
                for task in beside:
                    task.cancel()
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)

    async def _announce(self, ready: Callable[[], None]) -> None:
        wanted = self._reloads.settings.server.processes
        async with self._came:
            await self._came.wait_for(lambda: len(self._processes) == wanted)
        for process in list(self._processes.values()):
            await process.ready.wait()
        self._announced = True
        ready()

    async def _keep(self, number: int) -> None:
        """Run one process, and another one whenever it ends unasked."""
        delay_s = RESTART.first_delay_s
        while not self._stopping.is_set():
            born = self._clock()
            how = await self._lived(number)
            if self._stopping.is_set():
                return
            if self._clock() - born > RESTART.forgiven_after_s:
                delay_s = RESTART.first_delay_s
            self._metrics.restarts.inc()
            _LOG.error(
                "server process %d ended with %s; it is started again in %.1f s",
                number,
                how,
                delay_s,
            )
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay_s)
            delay_s = min(delay_s * 2, RESTART.longest_delay_s)

    async def _lived(self, number: int) -> str:
        """Run one process to its end and return what ended it.

        Raises:
            ServerProcessFailed: It was one of the first, and never took requests.
        """
        try:
            process = await self._begin(number)
        except OSError as error:  # no memory, too many processes
            if not self._announced:
                message = f"server process {number} cannot be started: {error}"
                raise ServerProcessFailed(message, 1) from error
            return str(error)
        status = await self._ended(process)
        if not (self._stopping.is_set() or self._announced or process.ready.is_set()):
            raise process.failure(status)
        return _told(status)

    async def _begin(self, number: int) -> ServerProcess:
        start = Start(number, self._reloads.settings, self._engine_urls)
        process = await ServerProcess.spawn(start, self._listener, self._census.page)
        self._processes[number] = process
        self._census.joined(process)
        async with self._came:
            self._came.notify_all()
        if start.settings is not self._reloads.settings:  # read again while it was started
            process.reload(self._reloads.settings)
        if self._stopping.is_set():  # asked meanwhile
            process.signal(signal.SIGTERM)
        return process

    async def _ended(self, process: ServerProcess) -> int:
        try:
            return await process.ended()
        except asyncio.CancelledError:  # another one cannot be started
            process.signal(signal.SIGKILL)
            await process.ended()
            raise
        finally:
            self._census.left(process)

    def _stop(self, number: int) -> None:
        """Ask every process to stop; a second Ctrl-C reaches them as such."""
        if not self._stopping.is_set():
            self._stopping.set()
            self._listener.close()  # so that nobody is left in it when the processes have closed it
            server = self._reloads.settings.server
            late_s = server.drain_delay_s + server.drain_s + LATE_S
            asyncio.get_running_loop().call_later(late_s, self._kill)
        self._pass_on(number)

    def _hand_on(self, settings: Settings) -> None:
        for process in self._processes.values():
            process.reload(settings)

    def _kill(self) -> None:
        _LOG.error("a server process did not stop in time and is killed")
        self._pass_on(signal.SIGKILL)

    def _pass_on(self, number: int) -> None:
        for process in self._processes.values():
            process.signal(number)


def _told(status: int) -> str:
    return f"status {status}" if status >= 0 else signal.Signals(-status).name
