"""A supervised model server: started, waited for, restarted when it dies, stopped with its kin."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import httpx

from entroute.embedded.child import Child
from entroute.embedded.engine import LOOPBACK, is_port_free
from entroute.errors import EngineError

logger = logging.getLogger(__name__)

HEALTH_POLL_S = 0.1
HEALTH_TIMEOUT_S = 5.0
HTTP_OK = 200


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How soon a dead server is started again; the delay doubles from death to death.

    Attributes:
        first_delay_s: Seconds before the first restart.
        longest_delay_s: Bound of the delay in seconds.
        forgiven_after_s: Seconds of life after which the delay starts from the first again.
    """

    first_delay_s: float = 1.0
    longest_delay_s: float = 60.0
    forgiven_after_s: float = 120.0


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What to run and how long to wait for it.

    Attributes:
        name: Name of the engine in messages.
        command: Program and arguments.
        port: Loopback port on which the command listens.
        environment: Variables beside those of this process.
        health_path: Path that answers 200 once the server can work.
        startup_timeout_s: Seconds from the start to that answer.
        grace_s: Seconds between SIGTERM and SIGKILL.
        restart: When a dead server is started again.
    """

    name: str
    command: Sequence[str]
    port: int
    environment: Mapping[str, str] = field(default_factory=dict)
    health_path: str = "/health"
    startup_timeout_s: float = 120.0
    grace_s: float = 10.0
    restart: RestartPolicy = RestartPolicy()


class EngineProcess:
    """A server in a child process that is kept alive between `start` and `stop`.

    Args:
        spec: What to run.
        clock: Monotonic time in seconds.
    """

    def __init__(self, spec: ProcessSpec, clock: Callable[[], float] = time.monotonic) -> None:
        self._spec = spec
        self._clock = clock
        self._child: Child | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """Served model id."""
        return self._spec.name

    @property
    def command(self) -> Sequence[str]:
        """Program and arguments."""
        return self._spec.command

    @property
    def url(self) -> str:
        """Base URL that ends in `/v1`."""
        return f"http://{LOOPBACK}:{self._spec.port}/v1"

    @property
    def running(self) -> bool:
        """Whether the server has answered its health URL and its process lives."""
        return self._child is not None and self._child.alive

    @property
    def pid(self) -> int | None:
        """Process id of the running server, None while there is none."""
        return self._child.pid if self._child is not None and self._child.alive else None

    async def start(self) -> None:
        """Return once the server answers; from then on it is restarted when it dies.

        Raises:
            EngineError: It died, did not answer in time, or its port is taken.
        """
        if self._watching is not None:
            return
        self._child = await self._launch()
        self._watching = asyncio.create_task(self._watch(), name=f"watch {self._spec.name}")

    async def stop(self) -> None:
        """Stop watching and end the server with every process it started."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
            self._watching = None
        if self._child is not None:
            child, self._child = self._child, None
            await child.end(self._spec.grace_s)

    async def _launch(self) -> Child:
        spec = self._spec
        if not is_port_free(spec.port):
            raise EngineError(
                f"{spec.name}: port {spec.port} is in use: choose another, "
                "or leave it out to have a free one chosen"
            )
        started = self._clock()
        try:
            child = await Child.spawn(spec.command, {**os.environ, **spec.environment})
        except OSError as error:
            raise EngineError(f"{spec.name}: cannot run {spec.command[0]}: {error}") from error
        try:
            await self._wait_until_healthy(child)
        except BaseException:
            await child.end(spec.grace_s)
            raise
        logger.info("%s is up after %.1f s at %s", spec.name, self._clock() - started, self.url)
        return child

    async def _wait_until_healthy(self, child: Child) -> None:
        spec = self._spec
        healthy = asyncio.create_task(self._answers())
        ended = asyncio.create_task(child.ended())
        try:
            await asyncio.wait(
                (healthy, ended),
                timeout=spec.startup_timeout_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if ended.done():
                raise EngineError(
                    f"{spec.name}: ended with status {ended.result()} during its start; "
                    f"its last lines:\n{child.tail}"
                )
            if not healthy.done():
                raise EngineError(
                    f"{spec.name}: no answer within {spec.startup_timeout_s:g} s "
                    f"(startup_timeout_s); its last lines:\n{child.tail}"
                )
            healthy.result()
        finally:
            healthy.cancel()
            ended.cancel()
            await asyncio.wait((healthy, ended))

    async def _answers(self) -> None:
        url = f"http://{LOOPBACK}:{self._spec.port}{self._spec.health_path}"
        async with httpx.AsyncClient(timeout=HEALTH_TIMEOUT_S, trust_env=False) as client:
            while True:
                try:
                    if (await client.get(url)).status_code == HTTP_OK:
                        return
                except httpx.TransportError:
                    pass  # not listening yet
                await asyncio.sleep(HEALTH_POLL_S)

    async def _watch(self) -> None:
        delay_s = self._spec.restart.first_delay_s
        while self._child is not None:
            born = self._clock()
            status = await self._child.ended()
            # The rest of its group would hold the port and the memory.
            await self._child.end(self._spec.grace_s)
            if self._clock() - born > self._spec.restart.forgiven_after_s:
                delay_s = self._spec.restart.first_delay_s
            logger.error(
                "%s died with status %d; its last lines:\n%s",
                self._spec.name,
                status,
                self._child.tail,
            )
            delay_s = await self._relaunch(delay_s)

    async def _relaunch(self, delay_s: float) -> float:
        """Start again until it succeeds; return the delay for the next death."""
        while True:
            logger.info("%s is started again in %.1f s", self._spec.name, delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, self._spec.restart.longest_delay_s)
            try:
                self._child = await self._launch()
            except EngineError as error:
                logger.error("%s", error)  # noqa: TRY400  the message says it all
            else:
                return delay_s
