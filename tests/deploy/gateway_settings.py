"""Reads the gateway's settings out of rendered objects as the gateway itself would.

Knows nothing of values.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from entroute.loading import load
from entroute.settings import Settings
from tests.deploy.chart import Object, named
from tests.deploy.objects import environment, pod_of


def settings_of(
    objects: Sequence[Object], folder: Path, secrets: Mapping[str, str], name: str = "entroute"
) -> Settings:
    """Return what the gateway of a release would run with.

    Args:
        objects: Objects of the release.
        folder: An empty folder.
        secrets: What is in the Secrets, by `<name>/<key>`.
        name: Name of the release's gateway.

    Raises:
        ConfigurationError: The gateway would refuse to start.
        KeyError: A Secret is asked for that is not there.
    """
    file = folder / "gateway.yaml"
    file.write_text(named(objects, "ConfigMap", name)["data"]["gateway.yaml"], encoding="utf-8")
    (container,) = pod_of(objects, f"Deployment/{name}").spec["containers"]
    variables: dict[str, str] = {}
    for variable, value in environment(container).items():
        if isinstance(value, str):
            variables[variable] = _put_in(value, variables)
        elif "secretKeyRef" in value:
            where = value["secretKeyRef"]
            variables[variable] = secrets[f"{where['name']}/{where['key']}"]
    return load(file, variables)


def _put_in(value: str, variables: Mapping[str, str]) -> str:
    """Return a value with `$(NAME)` replaced, as Kubernetes does from the variables before it."""
    for name, text in variables.items():
        value = value.replace(f"$({name})", text)
    return value
