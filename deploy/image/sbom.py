"""Adds to a bill of materials what cyclonedx-py does not see: Debian's packages and Python.

`sbom.py NAME PACKAGES.cdx.json SBOM.cdx.json`, run in the image that it describes.
"""

import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

FIELDS = ("${binary:Package}", "${Version}", "${Architecture}")
QUERY = ["dpkg-query", "--show", f"--showformat={' '.join(FIELDS)}\\n"]


def debian_components(listed: str, release: Mapping[str, str]) -> list[dict[str, str]]:
    """Return one component a package, after one for the system itself.

    Args:
        listed: Lines of name, version and architecture.
        release: What `/etc/os-release` says: ID and VERSION_ID.
    """
    distribution = f"{release['ID']}-{release['VERSION_ID']}"
    system = {"type": "operating-system", "name": release["ID"], "version": release["VERSION_ID"]}
    components = [{**system, "bom-ref": distribution}]
    for line in sorted(listed.splitlines()):
        name, version, architecture = line.split(" ")
        name = name.partition(":")[0]
        purl = (
            f"pkg:deb/{release['ID']}/{quote(name, safe='')}@{quote(version, safe='')}"
            f"?arch={architecture}&distro={distribution}"
        )
        components.append(_component("library", name, version, purl))
    return components


def python_component(version: str) -> dict[str, str]:
    """Return the interpreter, which the base image compiled itself: no package names it."""
    cpe = f"cpe:2.3:a:python:python:{version}:*:*:*:*:*:*:*"
    return {
        **_component("application", "python", version, f"pkg:generic/python@{version}"),
        "cpe": cpe,
    }


def completed(bom: Mapping[str, Any], name: str, more: list[dict[str, str]]) -> dict[str, Any]:
    """Return the bill of the image `name`: what `bom` has, and `more`."""
    root = {"type": "container", "name": name, "bom-ref": name}
    metadata = {**bom.get("metadata", {}), "component": root}
    components = [_addressed(component) for component in bom["components"]]
    return {**bom, "metadata": metadata, "components": [*components, *more]}


def _addressed(component: dict[str, Any]) -> dict[str, Any]:
    """Name a package that came from a file, as entroute itself does, and not where that lay."""
    if "purl" in component:
        return component
    told = {key: value for key, value in component.items() if key != "externalReferences"}
    return {**told, "purl": f"pkg:generic/{component['name']}@{component['version']}"}


def _component(kind: str, name: str, version: str, purl: str) -> dict[str, str]:
    return {"type": kind, "name": name, "version": version, "purl": purl, "bom-ref": purl}


def main(name: str, packages: str, target: str) -> None:
    """Read what cyclonedx-py wrote, and write the image's bill."""
    listed = subprocess.run(QUERY, capture_output=True, text=True, check=True).stdout  # noqa: S603
    more = [
        python_component(platform.python_version()),
        *debian_components(listed, platform.freedesktop_os_release()),
    ]
    bom = json.loads(Path(packages).read_text(encoding="utf-8"))
    text = json.dumps(completed(bom, name, more), indent=1)
    Path(target).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
