"""Values that together make every object of the chart: the profiles, and what none of them says."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.chart import CHART

PROFILES = CHART / "profiles"
DIGEST = "sha256:" + "0123456789abcdef" * 4


def profile(name: str) -> dict[str, Any]:
    """Return the values of one profile."""
    values: dict[str, Any] = yaml.safe_load((PROFILES / f"{name}.yaml").read_text(encoding="utf-8"))
    return values


def profiles() -> list[str]:
    """Return the profiles' names."""
    return sorted(path.stem for path in Path(PROFILES).glob("*.yaml"))


def worker(rank: int = 1, served: str = "small-model", **vllm: Any) -> dict[str, Any]:
    """Return a tier that the chart runs vLLM for."""
    return {
        "rank": rank,
        "settings": {"model": served},
        "vllm": {"model": f"org/{served}", "modelCache": {"kind": "emptyDir"}, **vllm},
    }


def elsewhere(rank: int = 1, model: str = "small-model", *urls: str, **more: Any) -> dict[str, Any]:
    """Return a tier whose workers run elsewhere."""
    return {
        "rank": rank,
        "settings": {"model": model},
        "external": {"urls": list(urls or ["http://vllm.models.svc:80/v1"]), **more},
    }


def values(tiers: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return values with some tiers that anybody may ask."""
    return {"auth": {"allowUnauthenticated": True}, "tiers": dict(tiers), **more}


ON = {"enabled": True}
EVERYWHERE = [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]
EMBEDDING: dict[str, Any] = {"rank": 1, "settings": {"model": "embedder", "dimensions": 768}}

COMBINATIONS: Mapping[str, dict[str, Any]] = {
    "hpa": values(
        {"small": worker(autoscaling={"kind": "hpa", "maxReplicas": 4})},
        gateway={"autoscaling": {"kind": "hpa", "maxReplicas": 8}},
        discovery="kubernetes",
    ),
    "embeddings": values(
        {"small": elsewhere()},
        embeddings={
            "passages": {
                **EMBEDDING,
                "vllm": {"model": "BAAI/bge-base-en-v1.5", "gpu": {"count": 0}},
            }
        },
    ),
    "claim": values(
        {
            "small": worker(
                modelCache={"kind": "existingClaim", "existingClaim": "models"}, replicas=3
            )
        },
        networkPolicy=ON,
    ),
    "shared-volume": values(
        {
            "small": worker(
                replicas=2,
                modelCache={
                    "kind": "pvc",
                    "accessModes": ["ReadWriteMany"],
                    "storageClassName": "nfs",
                    "keep": True,
                },
            )
        }
    ),
    "path": values(
        {
            "small": worker(
                model="/models/checkpoint",
                modelCache={"kind": "existingClaim", "existingClaim": "models"},
                strategy={"type": "Recreate"},
                podDisruptionBudget={"enabled": False},
            )
        }
    ),
    "eight-gpus": values(
        {
            "small": worker(
                gpu={"count": 8},
                runtimeClassName="nvidia",
                priorityClassName="models",
                nodeSelector={"gpu": "h100"},
                tolerations=[{"key": "gpu", "operator": "Exists"}],
                affinity={"podAntiAffinity": {}},
                podLabels={"team": "a"},
                podAnnotations={"note": "b"},
                extraEnv=[{"name": "NCCL_DEBUG", "value": "WARN"}],
                image={"repository": "mirror/vllm", "digest": DIGEST},
            )
        },
        imagePullSecrets=[{"name": "mirror"}],
        commonLabels={"team": "a"},
    ),
    "pools": values(
        {"small": worker(), "large": worker(2, "large-model")},
        inferencePool={"enabled": True, "endpointPicker": {"name": "picker"}},
    ),
    "ingress": values(
        {"small": elsewhere(discover={"kind": "dns", "host": "vllm", "port": 8000}, urls=[])},
        ingress={
            "enabled": True,
            "className": "nginx",
            "hosts": [{"host": "llm.example.com"}],
            "tls": [{"secretName": "llm", "hosts": ["llm.example.com"]}],
        },
    ),
    "kept-redis": values(
        {"small": elsewhere()},
        redis={
            "kind": "bundled",
            "bundled": {
                "password": {"existingSecret": "redis"},
                "persistence": {"enabled": True, "storageClass": "fast"},
            },
        },
        networkPolicy={"enabled": True, "gatewayEgress": EVERYWHERE},
    ),
    "sandbox": values(
        {"small": elsewhere()},
        sandbox={"enabled": True, "key": {"existingSecret": "sandbox"}, "replicas": 3},
    ),
    "watched": values(
        {"small": worker(), "large": elsewhere(2, "large-model")},
        monitoring={
            "serviceMonitor": {"enabled": True, "labels": {"release": "p"}, "interval": "30s"},
            "podMonitor": {"enabled": True, "labels": {"release": "p"}},
            "rules": {
                "enabled": True,
                "labels": {"release": "p"},
                "alertLabels": {"team": "models"},
                "runbookBaseUrl": "https://example.com/docs/",
            },
            "dashboards": {"enabled": True, "folder": "Models"},
        },
    ),
}


def case(name: str) -> dict[str, Any]:
    """Return the values of a profile or a combination."""
    return COMBINATIONS[name] if name in COMBINATIONS else profile(name)


ALL = (*profiles(), *COMBINATIONS)
