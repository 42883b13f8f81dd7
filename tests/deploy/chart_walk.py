"""What must hold of any rendered release: everything that is named is there."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.deploy.chart import Object, of_kind

WORKLOADS = ("Deployment", "StatefulSet", "Job", "Pod", "DaemonSet")


def pods(objects: Sequence[Object]) -> Iterator[tuple[str, Object]]:
    """Yield every pod or template of one: where it is from, and itself."""
    for one in objects:
        if one["kind"] in WORKLOADS:
            name = f"{one['kind']} {one['metadata']['name']}"
            yield name, one if one["kind"] == "Pod" else one["spec"]["template"]


def containers(pod: Object) -> list[Object]:
    """Return a pod's containers, those that start it first."""
    return [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]


def secrets_of(values: Mapping[str, Any]) -> set[str]:
    """Return the names of all Secrets that values say to exist."""
    found: set[str] = set()

    def look(part: Any) -> None:
        if isinstance(part, Mapping):
            found.update(
                str(name) for key, name in part.items() if key in {"existingSecret", "secretName"}
            )
            for each in part.values():
                look(each)
        elif isinstance(part, list):
            for each in part:
                look(each)

    look(values)
    return found


def complaints(objects: Sequence[Object], secrets: set[str]) -> list[str]:
    """Return what of a release does not fit together, in words."""
    return [
        *_twice(objects),
        *_selectors(objects),
        *_ports(objects),
        *_references(objects, secrets),
        *_targets(objects),
        *_names(objects),
    ]


def _key(one: Object) -> tuple[str, str, str]:
    return one["apiVersion"], one["kind"], one["metadata"]["name"]


def _twice(objects: Sequence[Object]) -> Iterator[str]:
    keys = [_key(one) for one in objects]
    yield from (f"{key} is rendered twice" for key in set(keys) if keys.count(key) > 1)


def selected(objects: Sequence[Object], selector: Mapping[str, Any]) -> list[Object]:
    """Return the pods that a label selector means."""
    labels = selector.get("matchLabels", {})
    rules = selector.get("matchExpressions", ())
    assert all(rule["operator"] == "In" for rule in rules)
    return [
        pod
        for _, pod in pods(objects)
        if labels.items() <= pod["metadata"]["labels"].items()
        and all(pod["metadata"]["labels"].get(rule["key"]) in rule["values"] for rule in rules)
    ]


def _selectors(objects: Sequence[Object]) -> Iterator[str]:
    for one in objects:
        spec = one.get("spec", {})
        if one["kind"] in {"Deployment", "StatefulSet"}:
            labels = spec["template"]["metadata"]["labels"]
            if not spec["selector"]["matchLabels"].items() <= labels.items():
                yield f"{_key(one)} does not select its own pods"
            if len(selected(objects, spec["selector"])) != 1:
                yield f"{_key(one)} selects pods of others"
        elif one["kind"] in {"Service", "PodDisruptionBudget", "InferencePool", "NetworkPolicy"}:
            raw = spec["podSelector"] if one["kind"] == "NetworkPolicy" else spec["selector"]
            selector = {"matchLabels": raw} if one["kind"] == "Service" else raw
            count = len(selected(objects, selector))
            # One policy may be of all workers; all else is of one component.
            if count == 0 or (count > 1 and one["kind"] != "NetworkPolicy"):
                yield f"{_key(one)} selects {count} kinds of pods"


def _ports(objects: Sequence[Object]) -> Iterator[str]:
    for service in of_kind(objects, "Service"):
        [pod] = selected(objects, {"matchLabels": service["spec"]["selector"]})
        open_ports = {
            name
            for container in containers(pod)
            for port in container.get("ports", ())
            for name in (port["name"], port["containerPort"])
        }
        for port in service["spec"]["ports"]:
            if port.get("targetPort", port["port"]) not in open_ports:
                yield f"{_key(service)}: no container listens on {port}"


def _references(objects: Sequence[Object], secrets: set[str]) -> Iterator[str]:
    there = {(one["kind"], one["metadata"]["name"]) for one in objects}
    for place, pod in pods(objects):
        spec = pod["spec"]
        account = spec.get("serviceAccountName")
        if account and ("ServiceAccount", account) not in there and account != "of-others":
            yield f"{place}: no ServiceAccount {account}"
        mounted = {
            mount["name"] for one in containers(pod) for mount in one.get("volumeMounts", ())
        }
        claimed = {
            claim["metadata"]["name"]
            for one in of_kind(objects, "StatefulSet")
            for claim in one["spec"].get("volumeClaimTemplates", ())
        }
        volumes = {volume["name"] for volume in spec.get("volumes", ())}
        yield from (f"{place}: no volume {name}" for name in mounted - volumes - claimed)
        yield from (f"{place}: nobody mounts {name}" for name in volumes - mounted)
        for kind, name in _named(spec):
            if kind == "Secret" and name not in secrets:
                yield f"{place}: no value names Secret {name}"
            elif kind != "Secret" and (kind, name) not in there:
                yield f"{place}: no {kind} {name}"


def _named(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for volume in spec.get("volumes", ()):
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
    for container in [*spec.get("initContainers", ()), *spec["containers"]]:
        for variable in container.get("env", ()):
            source = variable.get("valueFrom", {})
            if "secretKeyRef" in source:
                yield "Secret", source["secretKeyRef"]["name"]
            if "configMapKeyRef" in source:
                yield "ConfigMap", source["configMapKeyRef"]["name"]


def _targets(objects: Sequence[Object]) -> Iterator[str]:
    """Complain of autoscalers without a target, and of two on one."""
    there = {(one["kind"], one["metadata"]["name"]): one for one in objects}
    seen: set[tuple[str, str]] = set()
    for one in objects:
        if one["kind"] in {"HorizontalPodAutoscaler", "ScaledObject"}:
            target = one["spec"]["scaleTargetRef"]["kind"], one["spec"]["scaleTargetRef"]["name"]
            if target not in there:
                yield f"{_key(one)}: no {target}"
            elif "replicas" in there[target]["spec"]:
                yield f"{_key(one)}: {target} sets its replicas, too"
            if target in seen:
                yield f"{target} has two autoscalers"
            seen.add(target)
        if one["kind"] in {"Ingress", "HTTPRoute"}:
            for name in _backends(one):
                if ("Service", name) not in there:
                    yield f"{_key(one)}: no Service {name}"


def _backends(route: Object) -> Iterator[str]:
    for rule in route["spec"]["rules"]:
        for path in rule.get("http", {}).get("paths", ()):
            yield path["backend"]["service"]["name"]
        for backend in rule.get("backendRefs", ()):
            yield backend["name"]


def _names(objects: Sequence[Object]) -> Iterator[str]:
    for one in objects:
        name = one["metadata"]["name"]
        limit = 52 if one["kind"] in {"StatefulSet", "Deployment", "Service"} else 63
        if len(name) > limit:
            yield f"{_key(one)}: its name has {len(name)} characters"
        if one["kind"] == "Service" and not (name[0].isalpha() and "." not in name):
            yield f"{_key(one)}: is no name of a Service"
