"""What the gateway's side of a release does, object by object."""

from typing import Any

import pytest

from tests.deploy.chart import Object, named, of_kind, rendered
from tests.deploy.chart_cases import FULL, KEPT_REDIS, MINIMAL, OWN, PRODUCTION_REDIS, but
from tests.deploy.chart_walk import selected
from tests.deploy.tools import Tools

pytestmark = pytest.mark.deploy

AUTOSCALERS = {"hpa": "HorizontalPodAutoscaler", "keda": "ScaledObject"}


def gateway(objects: list[Object]) -> dict[str, Any]:
    spec: dict[str, Any] = named(objects, "Deployment", "entroute")["spec"]
    return spec


def pod(objects: list[Object]) -> dict[str, Any]:
    template: dict[str, Any] = gateway(objects)["template"]
    return template


def test_a_pod_waits_for_its_streams_before_it_is_killed(tools: Tools) -> None:
    for values, seconds in ((MINIMAL, 10 + 300 + 15), (FULL, 10 + 121 + 15)):
        spec = pod(rendered(tools.helm3, values))["spec"]
        assert spec["terminationGracePeriodSeconds"] == seconds
    longer = but({"gateway": {"drain": {"delaySeconds": 30}}, "config": {"server": {"drain_s": 5}}})
    assert pod(rendered(tools.helm3, longer))["spec"]["terminationGracePeriodSeconds"] == 50


def test_an_upgrade_takes_no_pod_before_another_is_ready(tools: Tools) -> None:
    spec = gateway(rendered(tools.helm3, MINIMAL))
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    probes = pod(rendered(tools.helm3, MINIMAL))["spec"]["containers"][0]
    assert probes["readinessProbe"]["httpGet"]["path"] == "/readyz"
    # A gateway that drains is not ready and must not be killed for it.
    assert probes["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert probes["startupProbe"]["httpGet"]["path"] == "/healthz"


def test_pods_change_with_the_configuration_and_with_nothing_else(tools: Tools) -> None:
    first = pod(rendered(tools.helm3, MINIMAL))
    other = but({"config": {"limits": {"max_calls": 3}}})
    changed = pod(rendered(tools.helm3, other))
    assert first["metadata"]["annotations"] != changed["metadata"]["annotations"]
    assert first["spec"] == changed["spec"]
    scaled = but(
        {"gateway": {"replicas": 7}, "service": {"port": 8080}, "ingress": {"className": "a"}}
    )
    assert pod(rendered(tools.helm3, scaled)) == first


@pytest.mark.parametrize("kind", ["none", "hpa", "keda"])
def test_one_autoscaler_at_most_and_it_alone_sets_replicas(tools: Tools, kind: str) -> None:
    auto = {"kind": kind, "minReplicas": 3, "maxReplicas": 8, "requestsInFlight": 40}
    objects = rendered(tools.helm4, but({"gateway": {"autoscaling": auto, "replicas": 4}}))
    found = [one["kind"] for one in objects if one["kind"] in AUTOSCALERS.values()]
    assert found == ([AUTOSCALERS[kind]] if kind in AUTOSCALERS else [])
    assert gateway(objects).get("replicas") == (4 if kind == "none" else None)


def test_both_autoscalers_count_requests_in_flight(tools: Tools) -> None:
    hpa = {"kind": "hpa", "maxReplicas": 8, "requestsInFlight": 40}
    [one] = of_kind(
        rendered(tools.helm3, but({"gateway": {"autoscaling": hpa}})), "HorizontalPodAutoscaler"
    )
    [metric] = one["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == "entroute_requests_in_flight"
    assert metric["pods"]["target"] == {"type": "AverageValue", "averageValue": "40"}
    objects = rendered(tools.helm3, PRODUCTION_REDIS, release="x", namespace="models")
    scaled = named(objects, "ScaledObject", "x-entroute")["spec"]
    [trigger] = scaled["triggers"]
    service = named(objects, "Service", "x-entroute")
    job = service["metadata"]["labels"]["entroute/job"]
    assert trigger["metadata"]["query"] == (
        f'sum(entroute_requests_in_flight{{job="{job}",namespace="models"}})'
    )
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (2, 4)


def test_a_token_and_a_role_only_where_the_api_is_asked(tools: Tools) -> None:
    by_name = rendered(tools.helm3, OWN)
    assert not of_kind(by_name, "Role")
    assert pod(by_name)["spec"]["automountServiceAccountToken"] is False
    watched = rendered(tools.helm3, but({"discovery": "kubernetes"}, OWN))
    [role] = of_kind(watched, "Role")
    assert role["rules"] == [
        {
            "apiGroups": ["discovery.k8s.io"],
            "resources": ["endpointslices"],
            "verbs": ["get", "list", "watch"],
        }
    ]
    [binding] = of_kind(watched, "RoleBinding")
    assert binding["subjects"][0]["name"] == pod(watched)["spec"]["serviceAccountName"]
    assert pod(watched)["spec"]["automountServiceAccountToken"] is True


def test_workers_that_others_run_are_watched_where_they_are(tools: Tools) -> None:
    away = {"discover": {"kind": "kubernetes", "service": "big", "namespace": "models"}}
    tier = {"rank": 2, "settings": {"model": "big"}, "external": away}
    objects = rendered(tools.helm4, but({"tiers": {"large": tier}}), namespace="edge")
    assert pod(objects)["spec"]["automountServiceAccountToken"] is True
    [role], [binding] = of_kind(objects, "Role"), of_kind(objects, "RoleBinding")
    assert role["metadata"]["namespace"] == binding["metadata"]["namespace"] == "models"
    assert binding["roleRef"]["name"] == role["metadata"]["name"] == "entroute-edge"
    assert binding["subjects"][0]["namespace"] == "edge"


def test_a_policy_lets_in_whom_it_names_and_nobody_by_an_empty_list(tools: Tools) -> None:
    values = but({"networkPolicy": {"clients": [], "monitoring": [], "dns": []}}, FULL)
    objects = rendered(tools.helm4, values)
    for policy in of_kind(objects, "NetworkPolicy"):
        spec = policy["spec"]
        assert spec["policyTypes"] == ["Ingress", "Egress"]
        assert all(rule["from"] for rule in spec["ingress"])
        for rule in spec["ingress"]:
            for peer in rule["from"]:
                assert selected(objects, peer["podSelector"]), peer
    gateways = named(objects, "NetworkPolicy", "entroute")["spec"]
    [only] = gateways["ingress"][0]["from"]
    assert only["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "test"
    assert not any(rule.get("to") == [] for rule in gateways["egress"])


def test_a_gateway_reaches_what_it_needs_and_the_executor_nobody(tools: Tools) -> None:
    objects = rendered(tools.helm3, FULL)
    egress = named(objects, "NetworkPolicy", "entroute")["spec"]["egress"]
    reached = {
        (found["metadata"]["labels"]["app.kubernetes.io/component"], rule["ports"][0]["port"])
        for rule in egress
        for peer in rule.get("to", ())
        if "podSelector" in peer
        for found in selected(objects, peer["podSelector"])
    }
    assert reached == {("tier", 8000), ("redis", 6379), ("sandbox", 8090)}
    assert {port["port"] for rule in egress for port in rule["ports"]} >= {53, 443, 6443}
    for name in ("entroute-sandbox", "entroute-redis"):
        assert named(objects, "NetworkPolicy", name)["spec"]["egress"] == []
    # The executor is shut in whether or not the rest is.
    open_values = but({"networkPolicy": {"enabled": False}}, FULL)
    [only] = of_kind(rendered(tools.helm3, open_values), "NetworkPolicy")
    assert only["metadata"]["name"] == "entroute-sandbox"


def test_the_executor_is_relaxed_by_its_seccomp_profile_alone(tools: Tools) -> None:
    values = {"sandbox": {"enabled": True, "key": {"existingSecret": "s"}}}
    spec = named(rendered(tools.helm3, but(values)), "Deployment", "entroute-sandbox")["spec"]
    inside = spec["template"]["spec"]
    [container] = inside["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {
            "type": "Localhost",
            "localhostProfile": "profiles/entroute-sandbox.json",
        },
    }
    assert "hostUsers" not in inside
    assert inside["automountServiceAccountToken"] is False
    assert inside["shareProcessNamespace"] is True  # somebody collects what killed sandboxes leave
    armour = {"appArmor": {"type": "Localhost", "localhostProfile": "entroute-sandbox"}}
    more = but({"sandbox": {**armour, "hostUsers": False}}, but(values))
    inside = named(rendered(tools.helm3, more), "Deployment", "entroute-sandbox")["spec"][
        "template"
    ]
    [container] = inside["spec"]["containers"]
    assert container["securityContext"]["appArmorProfile"] == armour["appArmor"]
    assert inside["spec"]["hostUsers"] is False


def test_an_image_is_pinned_by_its_digest_before_its_tag(tools: Tools) -> None:
    objects = rendered(tools.helm3, KEPT_REDIS)
    assert pod(objects)["spec"]["containers"][0]["image"] == "entroute@sha256:" + "0" * 64
    assert pod(objects)["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    tagged = but({"image": {"repository": "registry.example/entroute", "tag": "1.2"}})
    image = pod(rendered(tools.helm3, tagged))["spec"]["containers"][0]["image"]
    assert image == "registry.example/entroute:1.2"


def test_a_route_does_not_cut_streams(tools: Tools) -> None:
    [route] = of_kind(rendered(tools.helm3, FULL), "HTTPRoute")
    [rule] = route["spec"]["rules"]
    assert rule["timeouts"] == {"request": "0s", "backendRequest": "0s"}
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/v1"}}]


def test_metrics_stay_inside(tools: Tools) -> None:
    exposed = {"ingress": {"enabled": True, "hosts": [{"host": "x.example"}]}}
    [ingress] = of_kind(rendered(tools.helm3, but(exposed)), "Ingress")
    [path] = ingress["spec"]["rules"][0]["http"]["paths"]
    assert path["path"] == "/v1"


def test_a_redis_that_keeps_has_a_volume_and_another_has_none(tools: Tools) -> None:
    kept = named(rendered(tools.helm3, KEPT_REDIS), "StatefulSet", "entroute-redis")["spec"]
    [claim] = kept["volumeClaimTemplates"]
    assert claim["spec"]["storageClassName"] == "fast"
    assert kept["replicas"] == 1
    assert (
        "volumeClaimTemplates"
        not in named(rendered(tools.helm3, FULL), "StatefulSet", "entroute-redis")["spec"]
    )
