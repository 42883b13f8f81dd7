"""Where models are kept, and who fetches them."""

from typing import Any

import pytest

from tests.deploy.cases import values, worker
from tests.deploy.chart import named, of_kind, refused, rendered
from tests.deploy.objects import environment, pod_of
from tests.deploy.tools import Tools

pytestmark = pytest.mark.deploy

CLAIM = {"kind": "existingClaim", "existingClaim": "models"}


def spec(tools: Tools, **vllm: Any) -> dict[str, Any]:
    made = rendered(tools.helm4, values({"small": worker(**vllm)}))
    return dict(pod_of(made, "Deployment/entroute-tier-small").spec)


def models(tools: Tools, **cache: Any) -> dict[str, Any]:
    volumes = spec(tools, modelCache=cache)["volumes"]
    (volume,) = [one for one in volumes if one["name"] == "models"]
    return {kind: about for kind, about in volume.items() if kind != "name"}


def test_models_are_kept_where_values_say(tools: Tools) -> None:
    assert models(tools, kind="emptyDir", size="9Gi") == {"emptyDir": {"sizeLimit": "9Gi"}}
    assert models(tools, **CLAIM) == {"persistentVolumeClaim": {"claimName": "models"}}
    assert models(tools, kind="hostPath", hostPath="/data/models") == {
        "hostPath": {"path": "/data/models", "type": "Directory"}
    }
    ephemeral = models(tools, kind="ephemeral", size="9Gi", storageClassName="fast")["ephemeral"]
    assert ephemeral["volumeClaimTemplate"]["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "9Gi"}},
    }


def test_a_claim_of_the_chart_s_own_is_made_mounted_and_kept_if_asked(tools: Tools) -> None:
    cache = {"kind": "pvc", "size": "70Gi"}
    made = rendered(tools.helm4, values({"small": worker(modelCache=cache)}))
    claim = named(made, "PersistentVolumeClaim", "entroute-tier-small-models")
    assert claim["spec"]["resources"]["requests"]["storage"] == "70Gi"
    assert "annotations" not in claim["metadata"]
    assert models(tools, **cache) == {
        "persistentVolumeClaim": {"claimName": "entroute-tier-small-models"}
    }
    kept = rendered(tools.helm4, values({"small": worker(modelCache={**cache, "keep": True})}))
    (claim,) = of_kind(kept, "PersistentVolumeClaim")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_an_init_container_fetches_the_model_and_the_server_asks_nobody(tools: Tools) -> None:
    token = {"existingSecret": "hub", "key": "t"}
    it = spec(tools, model="org/weights", revision="abc", huggingFaceToken=token)
    (first,) = it["initContainers"]
    assert first["command"] == ["python3", "-c"]
    assert first["args"][1:3] == ["org/weights", "abc"]
    assert "*.pth" in first["args"][3:]
    assert environment(first)["HF_TOKEN"] == {"secretKeyRef": {"name": "hub", "key": "t"}}
    assert "HF_HUB_OFFLINE" not in environment(first)
    server = it["containers"][0]
    assert environment(server)["HF_HUB_OFFLINE"] == "1"
    assert environment(server)["HF_HOME"] == environment(first)["HF_HOME"]
    assert server["volumeMounts"] == first["volumeMounts"]


def test_nothing_is_fetched_where_the_model_is_a_path_or_nobody_wants_it(tools: Tools) -> None:
    assert "initContainers" not in spec(tools, model="/models/mine", modelCache=CLAIM)
    assert "initContainers" not in spec(tools, modelCache={**CLAIM, "download": False})


def test_a_server_may_ask_the_hub_itself(tools: Tools) -> None:
    server = spec(tools, offline=False)["containers"][0]
    assert "HF_HUB_OFFLINE" not in environment(server)


@pytest.mark.parametrize(
    "more", [{"replicas": 2}, {"autoscaling": {"kind": "keda", "maxReplicas": 3}}]
)
def test_replicas_cannot_share_a_volume_of_one_node(tools: Tools, more: dict[str, Any]) -> None:
    said = refused(tools.helm4, values({"small": worker(modelCache={"kind": "pvc"}, **more)}))
    assert "tiers.small.vllm.modelCache.accessModes" in said
    assert "ephemeral" in said


@pytest.mark.parametrize("kind", ["existingClaim", "hostPath"])
def test_a_place_that_is_not_said_is_refused(tools: Tools, kind: str) -> None:
    said = refused(tools.helm4, values({"small": worker(modelCache={"kind": kind})}))
    assert f"tiers.small.vllm.modelCache.{kind}" in said
