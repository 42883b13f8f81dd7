"""API keys in a YAML file, read again when it changes."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError

from entroute.errors import ConfigurationError
from entroute.tenants.keys import Key, KeyCopy
from entroute.tenants.keys_held import HeldKeys
from entroute.tenants.keys_records import KeyEntry, KeyFile

LOOK_EVERY_S = 1.0
"""Seconds between two looks at a key file."""


@dataclass(frozen=True, slots=True)
class Known:
    """What keys may name.

    Attributes:
        tiers: Names of all tiers.
        strategies: Names of all strategies.
    """

    tiers: Collection[str]
    strategies: Collection[str]

    def unknown(self, entry: KeyEntry) -> str | None:
        """Return what an entry names that does not exist, in words, or None."""
        for field, named, known in (
            ("tiers", entry.tiers, self.tiers),
            ("strategies", entry.strategies, self.strategies),
        ):
            strange = sorted((named or frozenset()).difference(known))
            if strange:
                return f"{field}: {', '.join(strange)} not configured; known: {', '.join(known)}"
        return None


def check_key_file(path: Path, known: Known) -> None:
    """Refuse a key file that cannot be used with these tiers and strategies.

    Raises:
        ConfigurationError: It cannot be read or is wrong, or an entry of it names a tier or a
            strategy that does not exist; the message names the entry, never quotes content.
    """
    _usable(path, known)


class FileKeys(HeldKeys):
    """The keys of a file.

    A change is seen by the file's time, size and inode, whether it is written in place, replaced,
    or reached by a link that now leads elsewhere. A bad new file changes nothing.

    Args:
        path: The file.
        known: What keys may name.
        clock: Monotonic seconds.

    Attributes:
        known: What keys may name.

    Raises:
        ConfigurationError: The file cannot be read or is wrong.
    """

    def __init__(self, path: Path, known: Known, clock: Callable[[], float]) -> None:
        super().__init__("file", LOOK_EVERY_S, clock)
        self._path = path
        self.known = known
        self._reading = asyncio.Lock()
        self._stamp = _stamp(path)
        self._loaded(_copy(_usable(path, known)))

    async def find_again(self, digest: str) -> Key | None:
        """Look at the file, too: a key may be used in the second after it was made."""
        await self.look()
        return self.find(digest)

    async def look(self) -> None:
        """Read the file again if it has changed."""
        async with self._reading:  # of two reads the older one must not end last
            await self._look()

    async def _look(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            if not self._said:
                self._unchanged()
            return
        self._stamp = stamp  # taken before the file is read: a change meanwhile is seen next time
        try:
            entries = await asyncio.to_thread(_usable, self._path, self.known)
        except ConfigurationError as error:
            self._failed(str(error), str(error))
        else:
            self._loaded(_copy(entries))


def read_key_file(path: Path) -> list[KeyEntry]:
    """Return a key file's entries, no key and no id twice.

    Raises:
        ConfigurationError: It cannot be read or is wrong; never quotes its content.
    """
    try:
        return parse_keys(path.read_text(encoding="utf-8"), path)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not UTF-8: {error.reason}") from None


def parse_keys(text: str, path: Path | str) -> list[KeyEntry]:
    """Return the entries of a key file's text.

    Raises:
        ConfigurationError: As `read_key_file`.
    """
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        # Not chained: the parser's words hold the line. ValueError: a date that is none.
        raise ConfigurationError(f"{path}: not valid YAML") from None
    try:
        entries = KeyFile.model_validate(data).keys
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "it"
        raise ConfigurationError(f"{path}: {place}: {first['msg']}") from None
    _refuse_twins(path, entries)
    return entries


def _refuse_twins(path: Path | str, entries: Sequence[KeyEntry]) -> None:
    digests: dict[str, str] = {}
    ids: dict[str, str] = {}
    for number, entry in enumerate(entries):
        place = f"{path}: keys.{number} ('{entry.name}')"
        for digest in entry.digests:
            if digest in digests:
                raise ConfigurationError(
                    f"{place}: its key is also that of '{digests[digest]}'; give every holder a "
                    "key of its own"
                )
            digests[digest] = entry.name
        if entry.key_id in ids:
            raise ConfigurationError(
                f"{place}: its id is also that of '{ids[entry.key_id]}'; leave one of them out"
            )
        ids[entry.key_id] = entry.name


def _usable(path: Path, known: Known) -> list[KeyEntry]:
    """Return a file's entries, none of which names what does not exist."""
    try:
        entries = read_key_file(path)
    except ConfigurationError as error:
        raise ConfigurationError(f"auth.keys_file: {error}") from None
    for place, entry in enumerate(entries):
        if (unknown := known.unknown(entry)) is not None:
            raise ConfigurationError(
                f"auth.keys_file: {path}: keys.{place} ('{entry.name}'): {unknown}"
            )
    return entries


def _copy(entries: Sequence[KeyEntry]) -> KeyCopy:
    return KeyCopy.of(entry.held() for entry in entries)


def _stamp(path: Path) -> tuple[int, ...] | None:
    """Return what differs once a file has changed; None while there is none."""
    try:
        facts = path.stat()
    except OSError:
        return None
    # The change time too: permission given later is no change of the content.
    return facts.st_mtime_ns, facts.st_size, facts.st_ino, facts.st_dev, facts.st_ctime_ns
