"""How many workers a tier has."""

from typing import Any

import pytest

from tests.deploy.cases import values, worker
from tests.deploy.chart import Object, named, of_kind, refused, rendered
from tests.deploy.tools import Tools

pytestmark = pytest.mark.deploy

NAME = "entroute-tier-small"
SCALED = {"minReplicas": 2, "maxReplicas": 6, "waiting": 3, "running": 40}


def objects(tools: Tools, kind: str, **more: Any) -> list[Object]:
    tier = worker(served="qwen/7b:v1", autoscaling={"kind": kind, **SCALED}, **more)
    return rendered(tools.helm4, values({"small": tier}))


def test_keda_asks_prometheus_for_what_waits_by_the_label_that_vllm_has(tools: Tools) -> None:
    made = objects(tools, "keda")
    spec = named(made, "ScaledObject", NAME)["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 6)
    asked = {
        trigger["metadata"]["query"]: trigger["metadata"]["threshold"]
        for trigger in spec["triggers"]
    }
    assert asked == {
        'sum(vllm:num_requests_waiting{model_name="qwen/7b:v1"})': "3",
        'sum(vllm:num_requests_running{model_name="qwen/7b:v1"})': "40",
    }
    assert of_kind(made, "HorizontalPodAutoscaler") == []
    assert "replicas" not in named(made, "Deployment", NAME)["spec"]


def test_while_prometheus_is_away_a_tier_keeps_its_size(tools: Tools) -> None:
    spec = named(objects(tools, "keda"), "ScaledObject", NAME)["spec"]
    assert spec["fallback"]["behavior"] == "currentReplicas"
    assert {t["metadata"]["ignoreNullValues"] for t in spec["triggers"]} == {"false"}


def test_an_hpa_asks_for_the_same_of_the_pods(tools: Tools) -> None:
    made = objects(tools, "hpa")
    spec = named(made, "HorizontalPodAutoscaler", NAME)["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 6)
    assert {one["pods"]["metric"]["name"]: one["pods"]["target"] for one in spec["metrics"]} == {
        "vllm_num_requests_waiting": {"type": "AverageValue", "averageValue": "3"},
        "vllm_num_requests_running": {"type": "AverageValue", "averageValue": "40"},
    }
    assert of_kind(made, "ScaledObject") == []
    assert "replicas" not in named(made, "Deployment", NAME)["spec"]


@pytest.mark.parametrize("kind", ["hpa", "keda"])
def test_a_tier_shrinks_slowly_one_by_one(tools: Tools, kind: str) -> None:
    spec = next(
        one["spec"]
        for one in objects(tools, kind)
        if one["kind"] in {"HorizontalPodAutoscaler", "ScaledObject"}
    )
    advanced = spec.get("advanced", {}).get("horizontalPodAutoscalerConfig", spec)
    down = advanced["behavior"]["scaleDown"]
    assert down["stabilizationWindowSeconds"] == 600
    assert down["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 60}]


def test_a_fixed_number_of_replicas_has_no_autoscaler(tools: Tools) -> None:
    made = rendered(tools.helm4, values({"small": worker(replicas=3)}))
    assert named(made, "Deployment", NAME)["spec"]["replicas"] == 3
    assert of_kind(made, "HorizontalPodAutoscaler") + of_kind(made, "ScaledObject") == []


def test_more_at_least_than_at_most_is_refused(tools: Tools) -> None:
    tier = worker(autoscaling={"kind": "keda", "minReplicas": 4, "maxReplicas": 2})
    assert "tiers.small.vllm.autoscaling.maxReplicas" in refused(
        tools.helm4, values({"small": tier})
    )


def test_an_eviction_takes_one_worker_at_a_time(tools: Tools) -> None:
    budget = named(objects(tools, "keda"), "PodDisruptionBudget", NAME)
    assert budget["spec"]["maxUnavailable"] == 1
    assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
