"""Where labels outlive the process: nowhere, or in a file. Redis has a module of its own."""

import asyncio
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Literal, Protocol

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from entroute.feedback.decided import Decided, Missing
from entroute.feedback.labels import Label
from entroute.feedback.learning import Learned, Learner

_LOG = logging.getLogger(__name__)

SAVE_EVERY_S = 5.0
"""What a crash may lose, in seconds of labels."""


class Keeper(Protocol):
    """Keeps what this process alone would forget; never fails a request."""

    @property
    def failures(self) -> int:
        """How often it could not."""
        ...

    async def start(self) -> None:
        """Teach the learner what was kept."""
        ...

    def follow(self, profile: str) -> None:
        """Keep labels about another profile, whose learner has just forgotten all."""
        ...

    def remember(self, decided: Decided) -> None:
        """Keep an answer."""
        ...

    async def find(self, request_id: str, tenant: str) -> Decided | Missing:
        """Return an answer that another process gave."""
        ...

    async def keep(self, decided: Decided, label: Label | None) -> None:
        """Keep an answer's new label; `label` is None where it teaches nothing."""
        ...

    async def close(self) -> None:
        """Keep what is not kept yet."""
        ...


class MemoryKeeper:
    """Keeps nothing beyond the process."""

    failures = 0

    async def start(self) -> None:
        """Do nothing."""

    def follow(self, profile: str) -> None:
        """Do nothing."""

    def remember(self, decided: Decided) -> None:
        """Do nothing."""

    async def find(self, request_id: str, tenant: str) -> Decided | Missing:
        """Know of no other process."""
        return "unknown"

    async def keep(self, decided: Decided, label: Label | None) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""


class _Kept(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid")

    version: Literal[1]
    profile: str
    learned: Learned


class FileKeeper:
    """Keeps labels in a file of this process alone, replaced whole every few seconds.

    A file that is cut off or no such file is set aside as `.bad`; labels about another profile
    are of no use and are written over.

    Args:
        path: The file; its folder exists.
        profile: Which profile the labels are about.
        learner: What is kept and taught.
        save_every_s: Seconds between two writes at most.
    """

    def __init__(
        self, path: Path, profile: str, learner: Learner, save_every_s: float = SAVE_EVERY_S
    ) -> None:
        self._path = path
        self._profile = profile
        self._learner = learner
        self._save_every_s = save_every_s
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        self.failures = 0

    async def start(self) -> None:
        """Read the file and begin to write it."""
        kept = self._read()
        if kept is not None and kept.profile == self._profile:
            self._learner.resume(kept.learned)
        elif kept is not None:
            _LOG.info("%s: its labels are about another profile; starting afresh", self._path)
        self._task = asyncio.create_task(self._write_changes())

    def follow(self, profile: str) -> None:
        """Write labels about another profile over those there are, once there are any."""
        self._profile = profile
        self._changed.clear()

    def remember(self, decided: Decided) -> None:
        """Do nothing: answers are labelled where they were given."""

    async def find(self, request_id: str, tenant: str) -> Decided | Missing:
        """Know of no other process."""
        return "unknown"

    async def keep(self, decided: Decided, label: Label | None) -> None:
        """Note that there is something to write."""
        if label is not None:
            self._changed.set()

    async def close(self) -> None:
        """Write what is not written yet."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        if self._writing is not None:
            await self._writing
        if self._changed.is_set():
            await self._write()

    async def _write_changes(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(self._save_every_s)
            await self._write()

    async def _write(self) -> None:
        self._changed.clear()
        learned = self._learner.kept()  # here, where nothing else changes it
        # Not cancelled with its caller: two writes at once would mix.
        self._writing = asyncio.create_task(asyncio.to_thread(self._replace, learned))
        await asyncio.shield(self._writing)

    def _replace(self, learned: Learned) -> None:
        row = {"version": 1, "profile": self._profile, "learned": asdict(learned)}
        unfinished = self._path.with_name(f"{self._path.name}.part")
        try:
            unfinished.write_bytes(orjson.dumps(row))
            unfinished.replace(self._path)
        except OSError as error:
            self.failures += 1
            if self.failures == 1:
                _LOG.warning("feedback.path: %s: labels are not kept: %s", self._path, error)

    def _read(self) -> _Kept | None:
        try:
            return _Kept.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            self.failures += 1
            _LOG.warning("feedback.path: %s cannot be read: %s", self._path, error)
        except ValidationError as error:
            aside = self._path.with_name(f"{self._path.name}.bad")
            _LOG.warning(
                "feedback.path: %s is cut off or no file of labels (%s); kept as %s, "
                "starting afresh",
                self._path,
                error.errors(include_url=False, include_input=False)[0]["msg"],
                aside.name,
            )
            try:
                self._path.replace(aside)
            except OSError as moved:
                self.failures += 1
                _LOG.warning("feedback.path: %s cannot be set aside: %s", self._path, moved)
        return None
