"""Build images where no registry of images is to be had: `python -m tests.deploy.images`.

buildah builds the real Dockerfile on a base that debootstrap makes of the same Debian release and
Python series, tagged as the Dockerfile's base. Its Python is Debian's, in /usr in place of
/usr/local; all else that the Dockerfile relies on is as in the official image.

Knows nothing of what is in an image, or of running one.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entroute.embedded.weights import default_directory
from tests.made_once import GB, Say, digest, made_once

ROOT = Path(__file__).resolve().parents[2]
BASE = re.compile(
    r"^ARG BASE=(?P<tag>python:(?P<series>3\.\d+)\.\d+-slim-(?P<suite>\w+))$", re.MULTILINE
)
STORE_BYTES = 8 * GB
"""A store of images that has grown above this is emptied; it only caches layers."""
BYTES = 4 * GB
PACKAGES = "python3,python3-venv,ca-certificates"


@dataclass(frozen=True, slots=True)
class Image:
    """A built image.

    Attributes:
        name: Its tag.
        config: `User`, `Env`, `Entrypoint`, `Cmd`, `Healthcheck` ..., as Docker has them.
        root: Its unpacked files; writing there changes no image.
        added_bytes: Unpacked size of its layers above those of the base.
    """

    name: str
    config: dict[str, Any]
    root: Path
    added_bytes: int


class Builder:
    """Builds images in a store of its own, one at a time.

    Args:
        folder: Where the stand-in base lies; the store is beside it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        store = store_of(folder)
        self._store = store
        run = store.with_name("deploy-images-run")
        self._buildah = ["nice", "-n", "5", "buildah", "--root", str(store), "--runroot", str(run)]
        driver = ["--storage-driver", "overlay"]
        unsupported = subprocess.run(
            [*self._buildah, *driver, "info"], capture_output=True, check=False
        )
        self._buildah += ["--storage-driver", "vfs"] if unsupported.returncode else driver

    def build(self, target: str) -> Image:
        """Return the image of one of the Dockerfile's targets, built as it now stands.

        Raises:
            CalledProcessError: The build failed; its output says why.
        """
        base = base_of_dockerfile()["tag"]
        self._base(base)
        name = f"localhost/entroute-test-{target}"
        secret = self._folder / "pip.conf"
        volumes = _host_pip(secret)
        options = ["--isolation", "chroot", "--format", "docker", "--layers", "--quiet"]
        secrets = [f"--secret=id=pip.conf,src={secret}"]
        binds = [f"--volume={path}:{path}:ro" for path in volumes]
        self._run("bud", *options, *secrets, *binds, "--target", target, "--tag", name, str(ROOT))
        inspected = json.loads(self._run("inspect", "--type", "image", name))
        bare = json.loads(self._run("inspect", "--type", "image", base))
        container = self._run("from", "--pull-never", name)
        return Image(
            container,
            inspected["Docker"]["config"],
            Path(self._run("mount", container)),
            _layers(inspected) - _layers(bare),
        )

    def remove(self, image: Image) -> None:
        """Let an image's unpacked files go; its layers stay for the next build."""
        self._run("rm", image.name)

    def _base(self, tag: str) -> None:
        if self._store.exists() and _size(self._store) > STORE_BYTES:
            self._run("rmi", "--all", "--force")
        known = [*self._buildah, "inspect", "--type", "image", tag]
        if subprocess.run(known, capture_output=True, check=False).returncode:
            options = ["--isolation", "chroot", "--format", "docker", "--quiet"]
            self._run("bud", *options, "--tag", tag, str(self._folder))

    def _run(self, *words: str) -> str:
        done = subprocess.run([*self._buildah, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            lines = (done.stdout + done.stderr).splitlines()
            told = [line for line in lines if not line.startswith("WARNING: Location")]
            raise AssertionError("\n".join([f"buildah {words[0]} failed:", *told[-40:]]))
        return done.stdout.strip()


def base_of_dockerfile() -> dict[str, str]:
    """Return `tag`, Python `series` and Debian `suite` of the Dockerfile's base."""
    found = BASE.search((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    assert found is not None, "Dockerfile: ARG BASE names no python:3.X.Y-slim-SUITE"
    return found.groupdict()


def store_of(folder: Path) -> Path:
    """Return where the images lie whose base lies at `folder`."""
    return folder.with_name("deploy-images")


def prepared(say: Say) -> Builder:
    """Return a builder; its programs are installed and its base is made if they are not there.

    Raises:
        SystemExit: This is no Debian or Ubuntu, or not root.
        CalledProcessError: A package manager failed; it has said why.
    """
    if not all(map(shutil.which, ("buildah", "debootstrap"))):
        _install()
    folder = default_directory().parent / "deploy-base"
    base = base_of_dockerfile()
    made_of = (*base.values(), PACKAGES, _LIKE_THE_OFFICIAL_IMAGE, _STANDIN)
    recipe = digest(*(part.encode() for part in made_of))
    with made_once(folder, recipe, BYTES, say) as needed:
        if needed:
            folder.mkdir()
            _bootstrap(folder, base["suite"], base["series"])
            shutil.rmtree(store_of(folder), ignore_errors=True)  # it holds the base before
    return Builder(folder)


def _install() -> None:
    if os.geteuid() or shutil.which("apt-get") is None:
        sys.exit(
            "tests/deploy/test_image.py needs buildah and debootstrap, and root to run them: "
            "apt-get install buildah debootstrap, and run it as root on Debian or Ubuntu"
        )
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=False, stdout=sys.stderr)
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends"]
    subprocess.run(
        [*command, "buildah", "debootstrap"], check=True, stdout=sys.stderr, env=environment
    )


_LIKE_THE_OFFICIAL_IMAGE = """
set -eu
rm -f /usr/lib/python{series}/EXTERNALLY-MANAGED
rm -rf /var/cache/apt/archives/*.deb /var/lib/apt/lists/*
for name in python python3 python{series}; do
  ln -sf /usr/bin/python{series} /usr/local/bin/$name
done
python -m zipfile -e /usr/share/python-wheels/pip-*.whl /usr/local/lib/python{series}/dist-packages
"""
_STANDIN = """FROM scratch
ADD root.tar /
ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
CMD ["python3"]
"""


def _bootstrap(folder: Path, suite: str, series: str) -> None:
    root = folder / "root"
    where = ["--variant=minbase", f"--include={PACKAGES}", suite, str(root), *_mirror()]
    subprocess.run(["nice", "debootstrap", *where], check=True, stdout=sys.stderr)
    script = _LIKE_THE_OFFICIAL_IMAGE.format(series=series)
    subprocess.run(["chroot", root, "sh", "-c", script], check=True, stdout=sys.stderr)
    tar = ["tar", "-C", str(root), "--exclude=./proc/*", "--exclude=./sys/*", "-cf"]
    subprocess.run([*tar, str(folder / "root.tar"), "."], check=True)
    (folder / "Dockerfile").write_text(_STANDIN, encoding="utf-8")
    (folder / ".dockerignore").write_text("*\n!root.tar\n", encoding="utf-8")
    shutil.rmtree(root)


def _mirror() -> list[str]:
    """Return this Debian's own mirror; debootstrap's default on another distribution."""
    if "\nID=debian\n" not in f"\n{Path('/etc/os-release').read_text(encoding='utf-8')}":
        return []
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return [uri for uri in listed if uri.rstrip("/").endswith("/debian")][:1]


def _host_pip(target: Path) -> list[str]:
    """Write the host's pip configuration to `target`; return the local paths that it names."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    values = {}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in {"global", "install", ":env:"} and name != "config-file":
            values[name] = str(ast.literal_eval(value))
    lines = [f"{name} = " + value.replace("\n", "\n  ") for name, value in values.items()]
    target.write_text("\n".join(["[global]", *lines, ""]), encoding="utf-8")
    words = [word.removeprefix("file://") for value in values.values() for word in value.split()]
    paths = {Path(word) for word in words if word.startswith("/") and Path(word).exists()}
    # The files of a local index lie beside its pages.
    return sorted({str(path.parent if path.name == "simple" else path) for path in paths})


def _layers(inspected: dict[str, Any]) -> int:
    manifest = json.loads(inspected["Manifest"])
    return sum(int(layer["size"]) for layer in manifest["layers"])


def _size(folder: Path) -> int:
    done = subprocess.run(["du", "-sB1", folder], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])


def main() -> None:
    """Make the base, as a preparation of the tests."""
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started:6.1f} s  {line}", file=sys.stderr, flush=True)  # noqa: T201

    prepared(say)


if __name__ == "__main__":
    main()
