"""SIGHUP: the configuration is read again and takes over whole, or changes nothing at all."""

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from fastapi import FastAPI

from entroute.app import check_files
from entroute.changes import changed_keys, restart_keys
from entroute.deciding import profile_of
from entroute.errors import ConfigurationError, EntrouteError
from entroute.generations import Generations
from entroute.lasting import Lasting
from entroute.profile.profile import Profile
from entroute.settings import Settings
from entroute.telemetry.logs import set_level
from entroute.telemetry.reloads import ReloadMetrics

_LOG = logging.getLogger(__name__)

_CONNECT_S = 15.0
"""Seconds that a generation may take to find and ask its workers, beside `health.timeout_s`."""


class Hangups:
    """Takes SIGHUPs, which would end the process, until somebody asks for them.

    Attributes:
        pending: Whether one came that nobody has taken yet.
    """

    def __init__(self) -> None:
        self.pending = False

    def install(self) -> None:
        """Take the signal from now on."""
        signal.signal(signal.SIGHUP, self._came)

    def _came(self, _signal: int, _frame: FrameType | None) -> None:
        self.pending = True


@dataclass(frozen=True, slots=True)
class Source:
    """Where the configuration comes from.

    Attributes:
        reread: Reads it again.
        hangups: Ask for that.
    """

    reread: Callable[[], Settings]
    hangups: Hangups


Build = Callable[[Settings, Lasting], FastAPI]
"""Makes the next generation of a running gateway."""


class Reloader:
    """Loads the configuration again when it is asked to, one time after the other.

    Args:
        generations: What runs.
        source: Where the configuration comes from.
        build: Makes a generation of it.
    """

    def __init__(self, generations: Generations, source: Source, build: Build) -> None:
        self._generations = generations
        self._lasting = generations.lasting
        self._source = source
        self._build = build
        self._task: asyncio.Task[None] | None = None

    def tick(self) -> None:
        """Begin to reload if that was asked for; to be called again and again."""
        busy = self._task is not None and not self._task.done()
        if self._lasting.drain.begun:
            if self._source.hangups.pending:
                _LOG.warning("reload ignored: the server is draining")
                self._source.hangups.pending = False
            if self._task is not None and busy:
                self._task.cancel()
        elif self._source.hangups.pending and not busy:
            self._source.hangups.pending = False
            self._task = asyncio.create_task(self._reload(), name="reload")

    async def close(self) -> None:
        """Give up what is being loaded."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _reload(self) -> None:
        reloads = self._lasting.reloads
        with refusals(reloads):
            changed = await self._applied()
            reloads.count("applied" if changed else "unchanged")
            _LOG.info("configuration reloaded: %s", ", ".join(changed) or "nothing has changed")
            set_level(self._generations.settings.server.log_level)

    async def _applied(self) -> list[str]:
        """Return the top-level keys that changed, after the change.

        Raises:
            ConfigurationError: The configuration is wrong, or can only change with a restart.
            ShuttingDown: The server has been asked to stop.
            TimeoutError: Its workers cannot be asked.
        """
        running = self._lasting.running[-1]
        settings = await asyncio.to_thread(read_again, running.settings, self._source.reread)
        profile = await asyncio.to_thread(profile_of, settings)
        changed = changed_keys(running.settings, settings)
        if _digest(profile) != _digest(running.profile) and "profile" not in changed:
            changed.append("profile")
        if not changed:
            return []
        # Not in the loop: it takes tens of milliseconds, and streams run.
        app = await asyncio.to_thread(self._build, settings, self._lasting)
        limit = settings.health.timeout_s + _CONNECT_S
        try:
            async with asyncio.timeout(limit):
                await self._generations.replace(app)
        except TimeoutError:
            raise TimeoutError(f"its workers could not be asked within {limit:g} s") from None
        return changed


@contextmanager
def refusals(reloads: ReloadMetrics) -> Iterator[None]:
    """Say and count why a configuration was not taken: what runs goes on running."""
    try:
        yield
    except (EntrouteError, TimeoutError) as error:
        reloads.count("refused")
        _LOG.error("reload refused, nothing has changed: %s", error)
    except Exception:  # noqa: BLE001 - in the background: nobody else would hear of it
        reloads.count("refused")
        _LOG.exception("reload failed, nothing has changed")


def read_again(running: Settings, reread: Callable[[], Settings]) -> Settings:
    """Return the configuration as it is now.

    Args:
        running: That a gateway runs with.
        reread: Reads it.

    Raises:
        ConfigurationError: It is wrong, or differs in what only a restart can change.
    """
    settings = reread()
    check_files(settings)
    if restart := restart_keys(running, settings):
        raise ConfigurationError(f"{', '.join(restart)}: cannot change without a restart")
    return settings


def _digest(profile: Profile | None) -> str:
    return "" if profile is None else profile.digest
