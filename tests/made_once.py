"""Folders in the user's cache that are made once, from a recipe whose digest they keep."""

import fcntl
import hashlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

GB = 10**9

Say = Callable[[str], None]


def digest(*parts: bytes) -> str:
    """Return the SHA-256 of parts, each kept apart from its neighbours."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8) + part)
    return whole.hexdigest()


@contextmanager
def made_once(folder: Path, recipe: str, need_bytes: int, say: Say) -> Iterator[bool]:
    """Enter with whether `folder` must be made; stamp it with `recipe` on success.

    One process at a time makes a folder; what an interrupted one left, or another recipe made,
    is removed first.

    Raises:
        SystemExit: The disk has less than `need_bytes` free.
    """
    stamp = folder / "made-from.sha256"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == recipe:
            yield False
            return
        shutil.rmtree(folder, ignore_errors=True)
        free = shutil.disk_usage(folder.parent).free
        if free < need_bytes:
            sys.exit(
                f"{folder}: needs {need_bytes / GB:.0f} GB of free disk, {free / GB:.1f} GB are "
                "there; free some, or set XDG_CACHE_HOME to a folder on a larger disk"
            )
        say(f"making {folder}")
        started = time.monotonic()
        yield True
        stamp.write_text(recipe)
        say(f"made {folder} in {time.monotonic() - started:.0f} s")
