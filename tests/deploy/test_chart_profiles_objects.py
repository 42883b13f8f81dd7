"""Every object that the chart makes of the profiles and of what no profile says."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.deploy.cases import ALL, case
from tests.deploy.chart import Object, rendered
from tests.deploy.objects import environment, pods, selects, title
from tests.deploy.pod_security import violations
from tests.deploy.tools import Tools
from tests.deploy.validating import faults

pytestmark = pytest.mark.deploy

Objects = Callable[[str], list[Object]]

SECRET = re.compile(r"(PASSWORD|TOKEN|API_KEY|SALT_KEY|SECRET)$")


@pytest.fixture(scope="module")
def objects(tools: Tools) -> Objects:
    """Render a case with Helm 4, once."""
    kept: dict[str, list[Object]] = {}

    def render(name: str) -> list[Object]:
        if name not in kept:
            kept[name] = rendered(tools.helm4, case(name), namespace="llm")
        return kept[name]

    return render


@pytest.fixture(params=ALL)
def all_objects(request: pytest.FixtureRequest, objects: Objects) -> list[Object]:
    return objects(request.param)


@pytest.mark.parametrize("name", ALL)
def test_both_majors_of_helm_make_the_same_objects(
    name: str, objects: Objects, tools: Tools
) -> None:
    assert rendered(tools.helm3, case(name), namespace="llm") == objects(name)


def test_every_object_is_valid_in_the_oldest_and_the_newest_kubernetes(
    all_objects: list[Object],
) -> None:
    assert [fault for one in all_objects for fault in faults(one)] == []


def test_pods_keep_pod_security_restricted(all_objects: list[Object]) -> None:
    assert [fault for pod in pods(all_objects) for fault in violations(pod)] == []


def test_containers_write_nowhere_but_in_volumes_and_get_no_service_links(
    all_objects: list[Object],
) -> None:
    for pod in pods(all_objects):
        assert pod.spec["enableServiceLinks"] is False, pod.owner
        for container in pod.containers:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, pod.owner


def test_only_a_gateway_that_watches_slices_has_a_token(all_objects: list[Object]) -> None:
    watched = any(one["kind"] == "Role" for one in all_objects)
    for pod in pods(all_objects):
        may = watched and pod.labels.get("app.kubernetes.io/component") == "gateway"
        assert pod.spec["automountServiceAccountToken"] is may, pod.owner


def test_containers_say_what_they_take(all_objects: list[Object]) -> None:
    for pod in pods(all_objects):
        for container in pod.containers:
            resources = container["resources"]
            assert {"cpu", "memory"} <= resources["requests"].keys(), pod.owner
            assert "memory" in resources["limits"], pod.owner


def test_servers_are_probed(all_objects: list[Object]) -> None:
    for pod in pods(all_objects):
        for container in pod.spec["containers"]:
            if "ports" in container:
                assert {"livenessProbe", "readinessProbe"} <= container.keys(), pod.owner
            else:
                assert pod.owner.startswith("Pod/"), f"{pod.owner}: {container['name']} has no port"


def test_images_are_pinned(all_objects: list[Object]) -> None:
    for pod in pods(all_objects):
        for container in pod.containers:
            image = container["image"]
            name, _, tag = image.partition("@")[0].rpartition(":")
            assert "@sha256:" in image or (name and tag and tag != "latest"), image


def test_no_object_holds_a_secret(all_objects: list[Object]) -> None:
    assert [title(one) for one in all_objects if one["kind"] == "Secret"] == []
    for pod in pods(all_objects):
        for container in pod.containers:
            for name, value in environment(container).items():
                if SECRET.search(name):
                    assert "secretKeyRef" in value, f"{pod.owner}: {name}"
                if name == "ENTROUTE_REDIS__URL" and isinstance(value, str):
                    assert ":$(REDIS_PASSWORD)@" in value, f"{pod.owner}: {name}"


def selector(one: Object) -> dict[str, Any] | None:
    """Return the selector of an object that has one for pods of its release."""
    spec = one.get("spec", {})
    if one["kind"] == "NetworkPolicy":
        return dict(spec["podSelector"])
    if one["kind"] in {
        "Deployment",
        "InferencePool",
        "PodDisruptionBudget",
        "PodMonitor",
        "Service",
        "StatefulSet",
    }:
        return dict(spec["selector"])
    return None


def test_selectors_find_pods_and_components_keep_to_their_own(all_objects: list[Object]) -> None:
    there = pods(all_objects)
    for one in all_objects:
        chosen = selector(one)
        if chosen is None:
            continue
        found = {pod.owner for pod in there if selects(chosen, pod.labels)}
        assert found, f"{title(one)} selects nothing"
        if one["kind"] in {"Deployment", "StatefulSet"}:
            assert found == {title(one)}
        if one["kind"] in {"Service", "PodDisruptionBudget", "InferencePool"}:
            assert len(found) == 1, f"{title(one)}: {found}"


def test_ports_of_services_are_ports_of_their_pods(all_objects: list[Object]) -> None:
    there = pods(all_objects)
    for one in all_objects:
        if one["kind"] != "Service":
            continue
        (pod,) = [pod for pod in there if selects(one["spec"]["selector"], pod.labels)]
        named = {port["name"] for each in pod.containers for port in each.get("ports", ())}
        assert {port["targetPort"] for port in one["spec"]["ports"]} <= named, title(one)


def test_a_deployment_has_one_autoscaler_and_then_no_replicas(all_objects: list[Object]) -> None:
    scaled: dict[str, list[str]] = {}
    for one in all_objects:
        if one["kind"] in {"HorizontalPodAutoscaler", "ScaledObject"}:
            scaled.setdefault(one["spec"]["scaleTargetRef"]["name"], []).append(title(one))
    there = {one["metadata"]["name"]: one for one in all_objects if one["kind"] == "Deployment"}
    assert scaled.keys() <= there.keys()
    for name, deployment in there.items():
        by = scaled.get(name, [])
        assert len(by) <= 1, by
        assert ("replicas" in deployment["spec"]) is not bool(by), name


def test_names_are_unique_and_every_object_says_whose_it_is(all_objects: list[Object]) -> None:
    names = [title(one) for one in all_objects]
    assert sorted(set(names)) == sorted(names)
    for one in all_objects:
        labels = one["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "entroute", title(one)
        assert labels["app.kubernetes.io/instance"] == "entroute", title(one)
        assert labels["app.kubernetes.io/managed-by"] == "Helm", title(one)
        assert one["metadata"]["namespace"] == "llm", title(one)


def test_between_them_the_cases_make_every_kind_of_object(objects: Objects) -> None:
    made = {one["kind"] for name in ALL for one in objects(name)}
    assert made >= {
        "ConfigMap",
        "Deployment",
        "HTTPRoute",
        "HorizontalPodAutoscaler",
        "InferencePool",
        "Ingress",
        "NetworkPolicy",
        "PersistentVolumeClaim",
        "Pod",
        "PodDisruptionBudget",
        "PodMonitor",
        "PrometheusRule",
        "Role",
        "RoleBinding",
        "ScaledObject",
        "Service",
        "ServiceAccount",
        "ServiceMonitor",
    }
