"""What the images are made from: their locks, their health check, their bill of materials."""

import asyncio
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from deploy.image.sbom import completed, debian_components, python_component
from entroute.embedded.engine import free_port
from loadtest.spawn import ROOT, fake_worker

LOCKS = ROOT / "deploy/image"
PIN = re.compile(r"^(?P<name>[a-z0-9-]+)==(?P<version>[^ ;]+)(?: ;[^\\]*)? \\$", re.MULTILINE)
NAME = re.compile(r"^[A-Za-z0-9._-]+")
EXTRAS = {"gateway": ("tracing",), "embedded": ("llamacpp", "tracing"), "sandbox": ("sandbox",)}
HEALTHY = ROOT / "deploy/image/healthy.py"


def pins(lock: Path) -> dict[str, str]:
    """Return the versions that a lock pins, by normalised name."""
    return dict(PIN.findall(lock.read_text(encoding="utf-8")))


def wanted(target: str) -> set[str]:
    """Return the names that pyproject.toml asks for a target."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = list(project["dependencies"])
    for extra in EXTRAS[target]:
        lines += project["optional-dependencies"][extra]
    names = {found.group() for line in lines if (found := NAME.match(line))}
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names}


@pytest.mark.parametrize("target", EXTRAS)
def test_a_lock_holds_what_its_target_needs(target: str) -> None:
    assert wanted(target) <= pins(LOCKS / f"{target}.lock").keys()


@pytest.mark.parametrize("target", [*EXTRAS, "build"])
def test_a_lock_pins_by_digest(target: str) -> None:
    text = (LOCKS / f"{target}.lock").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", text.strip())
    assert len(entries) == len(pins(LOCKS / f"{target}.lock")) > 20
    assert all("--hash=sha256:" in entry for entry in entries)


@pytest.mark.parametrize("target", [*EXTRAS, "build"])
def test_images_hold_the_versions_that_were_tested(target: str) -> None:
    tested = pins(ROOT / "requirements-dev.lock")
    ours = pins(LOCKS / f"{target}.lock")
    apart = {name for name in ours.keys() & tested.keys() if ours[name] != tested[name]}
    assert apart == set()
    assert target == "build" or ours.keys() <= tested.keys()


def test_the_gateway_has_no_package_of_engines_or_learning() -> None:
    heavy = {"numpy", "scikit-learn", "matplotlib", "xllamacpp", "torch", "onnxruntime", "sympy"}
    assert not heavy & pins(LOCKS / "gateway.lock").keys()
    assert not heavy & pins(LOCKS / "sandbox.lock").keys()


async def test_the_health_check_fails_where_nobody_answers() -> None:
    assert await _health(free_port()) == 1


async def test_the_health_check_fails_where_the_answer_is_no_200() -> None:
    async with fake_worker() as worker:  # which has no /healthz
        assert await _health(int(worker.url.rpartition(":")[2])) == 1


async def test_the_health_check_passes_where_healthz_answers() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        found = asked.startswith(b"GET /healthz HTTP/1.1\r\n")
        writer.write(b"HTTP/1.1 %d x\r\ncontent-length: 0\r\n\r\n" % (200 if found else 404))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        assert await _health(server.sockets[0].getsockname()[1]) == 0


async def _health(port: int) -> int:
    words = [sys.executable, "-IS", str(HEALTHY), str(port)]
    done = await asyncio.to_thread(subprocess.run, words, check=False, timeout=60)
    return done.returncode


def test_debian_packages_are_named_as_scanners_look_them_up() -> None:
    listed = "libc6:amd64 2.41-12+deb13u1 amd64\nbase-files 13.8 amd64\n"
    release = {"ID": "debian", "VERSION_ID": "13"}
    system, *packages = debian_components(listed, release)
    assert (system["type"], system["name"], system["version"]) == (
        "operating-system",
        "debian",
        "13",
    )
    assert [package["purl"] for package in packages] == [
        "pkg:deb/debian/base-files@13.8?arch=amd64&distro=debian-13",
        "pkg:deb/debian/libc6@2.41-12%2Bdeb13u1?arch=amd64&distro=debian-13",
    ]


def test_a_bill_names_the_image_and_all_of_its_parts() -> None:
    local = {"name": "entroute", "version": "1.0", "type": "library", "externalReferences": [{}]}
    bom = {"metadata": {"tools": {}}, "components": [local]}
    whole = completed(bom, "entroute-gateway", [python_component("3.13.5")])
    assert whole["metadata"]["component"]["name"] == "entroute-gateway"
    assert "tools" in whole["metadata"]
    ours, python = whole["components"]
    assert ours["purl"] == "pkg:generic/entroute@1.0"
    assert "externalReferences" not in ours
    assert python["cpe"].startswith("cpe:2.3:a:python:python:3.13.5:")
