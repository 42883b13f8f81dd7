"""Finding one's way in rendered objects.

Knows nothing of the chart.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.deploy.chart import Object

_TEMPLATED = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"})


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod, or what pods are made from.

    Attributes:
        owner: Kind and name of its object.
        labels: Its labels.
        annotations: Its annotations.
        spec: Its specification.
    """

    owner: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    spec: Mapping[str, Any]

    @property
    def containers(self) -> list[dict[str, Any]]:
        """All containers, those before the start included."""
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]

    def container(self, name: str) -> dict[str, Any]:
        """Return one container."""
        return next(one for one in self.containers if one["name"] == name)


def title(one: Object) -> str:
    """Return kind and name of an object."""
    return f"{one['kind']}/{one['metadata']['name']}"


def pods(objects: Sequence[Object]) -> list[Pod]:
    """Return the pods that objects are or make."""
    return [pod for one in objects for pod in _pods(one)]


def _pods(one: Object) -> Iterator[Pod]:
    if one["kind"] == "Pod":
        yield _pod(one, one)
    elif one["kind"] in _TEMPLATED:
        yield _pod(one, one["spec"]["template"])
    elif one["kind"] == "CronJob":
        yield _pod(one, one["spec"]["jobTemplate"]["spec"]["template"])


def _pod(owner: Object, template: Object) -> Pod:
    about = template.get("metadata", {})
    return Pod(
        owner=title(owner),
        labels=about.get("labels", {}),
        annotations=about.get("annotations", {}),
        spec=template["spec"],
    )


def pod_of(objects: Sequence[Object], owner: str) -> Pod:
    """Return the pod of one object, such as `Deployment/entroute`."""
    found = [pod for pod in pods(objects) if pod.owner == owner]
    assert len(found) == 1, f"{len(found)} pods of {owner}: {[pod.owner for pod in pods(objects)]}"
    return found[0]


def environment(container: Mapping[str, Any]) -> dict[str, Any]:
    """Return a container's variables: their values, or where these come from."""
    return {
        one["name"]: one["value"] if "value" in one else one["valueFrom"]
        for one in container.get("env", ())
    }


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector of any form selects labels."""
    if not {"matchLabels", "matchExpressions"} & selector.keys():
        return selector.items() <= labels.items()
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        _holds(rule, labels) for rule in selector.get("matchExpressions", ())
    )


def _holds(rule: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value = labels.get(rule["key"])
    match rule["operator"]:
        case "In":
            return value in rule["values"]
        case "NotIn":
            return value not in rule["values"]
        case "Exists":
            return value is not None
        case _:
            return value is None
