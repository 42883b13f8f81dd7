"""Where operators change keys: a file or a Redis. Two who do so at once lose nothing."""

import asyncio
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any, Protocol

from redis.asyncio import Redis

from entroute.errors import ConfigurationError
from entroute.redis_link.budgeted import BudgetedRedis
from entroute.redis_link.links import RedisLinks
from entroute.tenants.keys_file import read_key_file
from entroute.tenants.keys_records import KeyEntry
from entroute.tenants.keys_redis import HASH, Records, read_records
from entroute.tenants.keys_text import changed_text

Edit = Callable[[Sequence[KeyEntry]], list[KeyEntry]]

_WAIT_S = 10.0
_POLL_S = 0.02
_REDIS_S = 5.0

_SWAP = """
if (redis.call('HGET', KEYS[1], 'version') or '') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[2])
local gone = tonumber(ARGV[3])
for i = 4, 3 + gone do redis.call('HDEL', KEYS[1], ARGV[i]) end
for i = 4 + gone, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1
"""


class KeyBook(Protocol):
    """Holds the keys at rest."""

    def entries(self) -> list[KeyEntry]:
        """Return the keys.

        Raises:
            ConfigurationError: They cannot be read.
            RedisUnavailable: Redis does not answer.
        """
        ...

    def change(self, edit: Edit) -> tuple[str, ...]:
        """Replace the keys by what `edit` makes of them; return what is to be told of that.

        Raises:
            ConfigurationError: They cannot be read or written, or `edit` refuses.
            RedisUnavailable: Redis does not answer.
        """
        ...


class FileBook:
    """Keys in a YAML file, which only its owner may read once this has written it.

    Args:
        path: The file; made by the first key.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()  # a link stays one: what it leads to is replaced

    def entries(self) -> list[KeyEntry]:
        """Return the keys. See `KeyBook.entries`."""
        return read_key_file(self._path)

    def change(self, edit: Edit) -> tuple[str, ...]:
        """Write the file anew, whole or not at all. See `KeyBook.change`."""
        try:
            with _locked(self._path):
                there = self._path.exists()
                old = self.entries() if there else []
                before = self._path.read_text(encoding="utf-8") if there else ""
                after = changed_text(before, old, edit(old), str(self._path))
                _write(self._path, after)
        except OSError as error:
            raise ConfigurationError(f"{self._path}: {error.strerror or error}") from error
        if before.count("#") > after.count("#"):
            return (f"{self._path}: comments in what was written anew are gone",)
        return ()


class RedisBook:
    """Keys in Redis.

    Args:
        url: Its address.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def entries(self) -> list[KeyEntry]:
        """Return the keys. See `KeyBook.entries`."""
        return list(asyncio.run(self._asked(read_records)).entries)

    def change(self, edit: Edit) -> tuple[str, ...]:
        """Swap them in one step if nobody else has meanwhile. See `KeyBook.change`."""
        records: Records = asyncio.run(self._asked(lambda link: _swapped(link, edit)))
        if not records.garbage:
            return ()
        return (f"{HASH}: left alone, since they cannot be read: {', '.join(records.garbage)}",)

    async def _asked(self, ask: Callable[[BudgetedRedis], Any]) -> Any:
        links = RedisLinks(time.monotonic)
        try:
            link = links.to(self._url, _REDIS_S)
        except ValueError as error:  # which never quotes the address
            raise ConfigurationError(f"ENTROUTE_REDIS__URL: {error}") from None
        try:
            return await ask(link)
        finally:
            await links.close()


async def _swapped(link: BudgetedRedis, edit: Edit) -> Records:
    """Return the records that were changed."""
    give_up = time.monotonic() + _WAIT_S
    while time.monotonic() < give_up:
        records = await read_records(link)
        old = {entry.sha256: entry for entry in records.entries}
        new = {entry.sha256: entry for entry in edit(records.entries)}
        kept = [digest for digest, entry in new.items() if old.get(digest) == entry]
        gone = sorted(old.keys() - new.keys())
        fields = [part for digest in new.keys() - kept for part in _field(new[digest])]
        arguments = [records.version, token_hex(8), str(len(gone)), *gone, *fields]

        async def swap(redis: Redis, arguments: Sequence[Any] = arguments) -> Any:
            return await redis.eval(_SWAP, 1, HASH, *arguments)

        if await link.ask(swap):
            return records
    raise ConfigurationError(f"{HASH}: others change it all the time; try again")


def _field(entry: KeyEntry) -> tuple[str, str]:
    """Return a record's field and value."""
    data = {name: value for name, value in entry.dump().items() if name != "sha256"}
    return entry.sha256, json.dumps(data, ensure_ascii=False)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time change a file.

    Raises:
        ConfigurationError: Another one does not let go of it.
        OSError: The lock cannot be made.
    """
    lock = path.with_name(path.name + ".lock")
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        give_up = time.monotonic() + _WAIT_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up:
                    raise ConfigurationError(
                        f"{path}: another process is changing it (it holds {lock})"
                    ) from None
                time.sleep(_POLL_S)
        yield
    finally:
        os.close(handle)


def _write(path: Path, text: str) -> None:
    """Replace a file by one that only its owner may read, whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    draft = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            owner = path.stat()
            with suppress(PermissionError):  # the gateway's user goes on owning it
                os.chown(draft, owner.st_uid, owner.st_gid)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
