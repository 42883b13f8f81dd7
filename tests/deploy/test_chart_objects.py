"""Whatever is switched on, a release fits together, and is what Kubernetes takes."""

from pathlib import Path

import pytest

from tests.deploy.chart import rendered, template
from tests.deploy.chart_cases import CASES, FULL, MINIMAL, OWN
from tests.deploy.chart_walk import complaints, containers, pods, secrets_of
from tests.deploy.objects import pods as pods_of
from tests.deploy.pod_security import violations
from tests.deploy.tools import Tools
from tests.deploy.validating import faults

pytestmark = pytest.mark.deploy

RELEASES = ("entroute", "entroute-" + "x" * 44, "a" * 53, "7.of-them.b", "e", "my-entroute")


def helms(tools: Tools) -> tuple[Path, Path]:
    return tools.helm3, tools.helm4


@pytest.mark.parametrize("name", CASES)
def test_everything_that_is_named_is_there(tools: Tools, name: str) -> None:
    for helm in helms(tools):
        objects = rendered(helm, CASES[name])
        assert complaints(objects, secrets_of(CASES[name])) == []


@pytest.mark.parametrize("name", CASES)
def test_every_object_is_one_that_kubernetes_knows(tools: Tools, name: str) -> None:
    objects = rendered(tools.helm4, CASES[name])
    assert [fault for one in objects for fault in faults(one)] == []


@pytest.mark.parametrize("release", RELEASES)
def test_any_release_s_name_makes_names_that_kubernetes_takes(tools: Tools, release: str) -> None:
    for helm in helms(tools):
        objects = rendered(helm, FULL, release=release)
        assert complaints(objects, secrets_of(FULL)) == []
        for _, pod in pods(objects):
            assert all(len(value) <= 63 for value in pod["metadata"]["labels"].values())


def test_releases_of_one_namespace_share_no_object_and_no_pod(tools: Tools) -> None:
    names = [*RELEASES, "x", "x-entroute", "entroute-x", "7-of-them.b"]
    seen: dict[tuple[str, str], str] = {}
    for release in names:
        for one in rendered(tools.helm3, OWN, release=release):
            key = one["kind"], one["metadata"]["name"]
            assert key not in seen, f"{key} of {release} is {seen[key]}'s, too"
            seen[key] = release
            labels = one["metadata"]["labels"]
            assert labels["app.kubernetes.io/instance"] == release


def test_both_majors_of_helm_make_the_same_objects_again_and_again(tools: Tools) -> None:
    first = template(tools.helm3, FULL)
    assert template(tools.helm3, FULL) == first
    assert rendered(tools.helm4, FULL) == rendered(tools.helm3, FULL)


@pytest.mark.parametrize("name", CASES)
def test_every_pod_keeps_to_the_restricted_standard(tools: Tools, name: str) -> None:
    told = [said for pod in pods_of(rendered(tools.helm4, CASES[name])) for said in violations(pod)]
    relaxed = ["seccompProfile"] if name == "kept" else []  # the case that says so
    assert [said for said in told if not any(word in said for word in relaxed)] == []
    assert bool(told) is (name == "kept")


@pytest.mark.parametrize("name", CASES)
def test_no_pod_has_a_token_or_writes_to_its_image(tools: Tools, name: str) -> None:
    asked = CASES[name].get("discovery") == "kubernetes"
    for place, pod in pods(rendered(tools.helm3, CASES[name])):
        gateway = pod["metadata"]["labels"]["app.kubernetes.io/component"] == "gateway"
        assert pod["spec"]["automountServiceAccountToken"] is (gateway and asked), place
        assert pod["spec"]["enableServiceLinks"] is False, place
        for container in containers(pod):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, place


def test_the_least_that_is_said_makes_only_the_gateway(tools: Tools) -> None:
    kinds = sorted(
        one["kind"] for one in rendered(tools.helm3, MINIMAL) if one["kind"] != "ConfigMap"
    )
    assert kinds == ["Deployment", "Pod", "PodDisruptionBudget", "Service", "ServiceAccount"]
