"""SHA-256 of large files, remembered beside them so that a second check costs one `stat`."""

import hashlib
import json
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Return the lower-case hex SHA-256 of a file's bytes.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def remember(path: Path, sha256: str) -> None:
    """Record that a file, as it is now, has this digest.

    Raises:
        OSError: The record cannot be written.
    """
    record = {"sha256": sha256, **_fingerprint(path)}
    _record_of(path).write_text(json.dumps(record), encoding="utf-8")


def is_remembered(path: Path, sha256: str) -> bool:
    """Return whether this digest was recorded and the file has not changed since."""
    try:
        record = json.loads(_record_of(path).read_text(encoding="utf-8"))
        return bool(record == {"sha256": sha256, **_fingerprint(path)})
    except (OSError, ValueError):
        return False


def forget(path: Path) -> None:
    """Delete a file and its record, whichever of them exist.

    Raises:
        OSError: One of them exists and cannot be deleted.
    """
    path.unlink(missing_ok=True)
    _record_of(path).unlink(missing_ok=True)


def _record_of(path: Path) -> Path:
    return path.with_name(path.name + ".sha256.json")


def _fingerprint(path: Path) -> dict[str, int]:
    status = path.stat()
    return {"size_bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
