"""Renders the chart with real Helm, and says what it refuses.

Knows nothing of single objects.
"""

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm/entroute"

Object = dict[str, Any]
"""One rendered object of Kubernetes."""

APIS = (
    "monitoring.coreos.com/v1",
    "keda.sh/v1alpha1",
    "gateway.networking.k8s.io/v1",
    "inference.networking.k8s.io/v1",
)
"""Kinds of a cluster that has everything installed."""


class HelmFailed(AssertionError):
    """Helm refused; the message is what it said on stderr."""


def template(
    helm: Path,
    values: Mapping[str, Any] | Path,
    *,
    namespace: str = "default",
    release: str = "entroute",
    api_versions: Sequence[str] = APIS,
    chart: Path = CHART,
    more: Sequence[str] = (),
) -> str:
    """Return what `helm template` prints.

    Args:
        helm: The program, of either major.
        values: Values, or a file of them.
        namespace: Namespace of the release.
        release: Its name.
        api_versions: What the cluster can do besides Kubernetes' own.
        chart: Folder or package of the chart.
        more: Further words of the command line.

    Raises:
        HelmFailed: Helm refused.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = values if isinstance(values, Path) else Path(folder) / "values.yaml"
        if not isinstance(values, Path):
            # JSON: what PyYAML leaves unquoted, `y` or `on`, is true to Helm.
            file.write_text(json.dumps(values), encoding="utf-8")
        apis = [word for name in api_versions for word in ("--api-versions", name)]
        words = ["template", release, str(chart), "-n", namespace, "-f", str(file), *apis, *more]
        done = subprocess.run(
            [helm, *words], capture_output=True, text=True, check=False, timeout=60, cwd=folder
        )
    if done.returncode:
        raise HelmFailed(done.stderr)
    return done.stdout


def rendered(
    helm: Path,
    values: Mapping[str, Any] | Path,
    *,
    namespace: str = "default",
    release: str = "entroute",
    api_versions: Sequence[str] = APIS,
) -> list[Object]:
    """Return the objects that Helm makes of values; raises as `template`."""
    text = template(helm, values, namespace=namespace, release=release, api_versions=api_versions)
    return [one for one in yaml.safe_load_all(text) if one is not None]


def refused(helm: Path, values: Mapping[str, Any], *, release: str = "entroute") -> str:
    """Return what Helm says when it refuses values.

    Raises:
        AssertionError: It takes them.
    """
    try:
        template(helm, values, release=release)
    except HelmFailed as failure:
        return str(failure)
    raise AssertionError(f"helm took {values}")


def of_kind(objects: Sequence[Object], kind: str) -> list[Object]:
    """Return the objects of one kind."""
    return [one for one in objects if one["kind"] == kind]


def named(objects: Sequence[Object], kind: str, name: str) -> Object:
    """Return one object.

    Raises:
        AssertionError: There is none, or more than one.
    """
    found = [one for one in of_kind(objects, kind) if one["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} {kind} {name}"
    return found[0]
