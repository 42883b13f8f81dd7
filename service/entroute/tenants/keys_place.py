"""Where an operator's keys are: a file or a Redis."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from entroute.errors import ConfigurationError
from entroute.tenants.keys_books import FileBook, KeyBook, RedisBook
from entroute.tenants.keys_file import Known


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where keys are; exactly one of file and Redis.

    Attributes:
        file: A YAML file.
        redis_url: A Redis's address.
        known: What keys may name, where that is known.
    """

    file: Path | None = None
    redis_url: str = field(default="", repr=False)
    known: Known | None = None

    def book(self) -> KeyBook:
        """Return what changes them."""
        return RedisBook(self.redis_url) if self.file is None else FileBook(self.file)


PlaceOf = Callable[[Path], KeyPlace]
"""Reads a configuration and returns where its keys are."""


def place(
    file: Path | None, config: Path | None, redis_url: str | None, place_of: PlaceOf
) -> KeyPlace:
    """Return the place that was named.

    Args:
        file: A key file.
        config: A configuration, whose keys are meant.
        redis_url: A Redis's address, which counts where neither file nor configuration is named:
            it may stand in the environment for the sake of others.
        place_of: Reads configurations.

    Raises:
        ConfigurationError: None is named, or file and configuration are.
    """
    if file is not None and config is not None:
        raise ConfigurationError("--file and --config: give one of them")
    if file is not None:
        return KeyPlace(file=file)
    if config is not None:
        return place_of(config)
    if not redis_url:
        raise ConfigurationError(
            "say where the keys are: --file PATH, --config FILE, or a Redis's address in "
            "ENTROUTE_REDIS__URL"
        )
    return KeyPlace(redis_url=redis_url)
