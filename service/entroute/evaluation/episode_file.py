"""Graded episodes on disk: replaying plans takes minutes, looking at them again should not."""

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from entroute.errors import ConfigurationError
from entroute.evaluation.episodes import Episode

SCHEMA = "entroute-episodes-1"
_UNREADABLE = (EOFError, gzip.BadGzipFile, zlib.error, orjson.JSONDecodeError, AttributeError)
_EPISODES: TypeAdapter[list[Episode]] = TypeAdapter(list[Episode])


def write_episodes(path: Path, made: dict[str, Any], episodes: Sequence[Episode]) -> None:
    """Write episodes, without their texts, under what they were made of."""
    rows = [{**asdict(episode), "text": ""} for episode in episodes]
    data = orjson.dumps({"schema": SCHEMA, "made": made, "episodes": rows})
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_bytes(gzip.compress(data, mtime=0))
    unfinished.replace(path)


def read_episodes(path: Path, made: dict[str, Any]) -> list[Episode] | None:
    """Return the episodes of a file, None if there is none, or it was made of something else.

    Raises:
        ConfigurationError: The file is cut off or holds something else than episodes.
    """
    if not path.exists():
        return None
    try:
        data = orjson.loads(gzip.decompress(path.read_bytes()))
        if data.get("schema") != SCHEMA or data.get("made") != made:
            return None
        return _EPISODES.validate_python(data.get("episodes"))
    except _UNREADABLE as error:
        raise ConfigurationError(f"{path}: cut off or no episodes: {error}; remove it") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ConfigurationError(f"{path}: {first['loc']}: {first['msg']}; remove it") from error
