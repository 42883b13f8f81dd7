"""Values that are rendered: together they turn every switch of the gateway's side."""

from collections.abc import Mapping
from typing import Any

from tests.deploy.chart import CHART
from tests.gateway_process import merged

Values = Mapping[str, Any]

MINIMAL: Values = {
    "auth": {"allowUnauthenticated": True},
    "tiers": {
        "small": {
            "rank": 1,
            "settings": {"model": "qwen-small"},
            "external": {"urls": ["http://small.models.svc:8000/v1"]},
        }
    },
}
"""The least that is taken."""


def but(changes: Mapping[str, Any], base: Values = MINIMAL) -> dict[str, Any]:
    """Return values with changes put over them."""
    return merged(base, changes)


OWN = but(
    {
        "tiers": {
            "large": {
                "rank": 20,
                "settings": {"model": "qwen-large", "price": {"prompt": 0.3, "completion": 0.6}},
                "vllm": {
                    "model": "Qwen/Qwen2.5-72B-Instruct-AWQ",
                    "apiKey": {"existingSecret": "vllm-key"},
                },
            },
            "middle": {
                "rank": 10,
                "settings": {"model": "qwen-middle", "tools": False},
                "vllm": {"model": "Qwen/Qwen2.5-7B-Instruct"},
            },
        },
        "embeddings": {
            "meaning": {
                "rank": 1,
                "settings": {"model": "bge", "dimensions": 384},
                "external": {
                    "discover": {"kind": "dns", "host": "bge.models.svc", "port": 8000},
                    "apiKey": {"existingSecret": "bge-key"},
                },
            }
        },
    }
)
"""Tiers of every source, an embedding tier."""

FULL = but(
    {
        "discovery": "kubernetes",
        "commonLabels": {"team": "inference"},
        "auth": {
            "existingSecret": "api-keys",
            "allowUnauthenticated": False,
            "cacheSalt": {"existingSecret": "salt"},
        },
        "redis": {"kind": "bundled", "bundled": {"password": {"existingSecret": "redis"}}},
        "sandbox": {
            "enabled": True,
            "key": {"existingSecret": "sandbox"},
            "config": {"workers": 2, "memory_mib": 256},
            "hostUsers": False,
        },
        "gateway": {
            "autoscaling": {"kind": "hpa", "minReplicas": 2, "maxReplicas": 9},
            "podAnnotations": {"note": "x"},
            "podLabels": {"zone": "y"},
            "nodeSelector": {"kind": "cpu"},
            "tolerations": [{"key": "cpu", "operator": "Exists"}],
            "priorityClassName": "high",
            "extraEnv": [{"name": "ENTROUTE_LIMITS__MAX_CALLS", "value": "8"}],
            "extraVolumes": [{"name": "profile", "emptyDir": {}}],
            "extraVolumeMounts": [{"name": "profile", "mountPath": "/etc/profile"}],
        },
        "config": {
            "server": {"drain_s": 120.5, "max_body_bytes": 16_000_000},
            "auth": {"when_redis_fails": "closed"},
            "cache": {"kind": "redis", "ttl_s": 60},
            "feedback": {"kind": "redis"},
            "policy": {"kind": "static", "strategy": "program_first"},
            "sandbox": {"queue_s": 5},
            "allow_fields": ["priority"],
        },
        "ingress": {
            "enabled": True,
            "className": "nginx",
            "hosts": [{"host": "llm.example", "paths": ["/v1", "/playground"]}],
            "tls": [{"hosts": ["llm.example"], "secretName": "tls"}],
        },
        "httpRoute": {
            "enabled": True,
            "parentRefs": [{"name": "outside", "namespace": "gateways"}],
            "hostnames": ["llm.example"],
        },
        "inferencePool": {"enabled": True, "endpointPicker": {"name": "picker"}},
        "networkPolicy": {
            "enabled": True,
            "gatewayEgress": [{"to": [{"namespaceSelector": {}}], "ports": [{"port": 8000}]}],
        },
        "test": {"apiKey": {"existingSecret": "a-key"}},
    },
    OWN,
)
"""Everything at once."""

PRODUCTION_REDIS = but(
    {
        "auth": {"inRedis": True, "allowUnauthenticated": False},
        "redis": {"kind": "external", "external": {"existingSecret": "redis", "key": "url"}},
        "gateway": {"autoscaling": {"kind": "keda", "minReplicas": 2, "maxReplicas": 4}},
        "config": {"redis": {"timeout_ms": 80}, "cache": {"kind": "redis"}},
    },
    OWN,
)

KEPT_REDIS = but(
    {
        "auth": {"inRedis": True, "allowUnauthenticated": False},
        "redis": {
            "kind": "bundled",
            "bundled": {
                "password": {"existingSecret": "redis"},
                "persistence": {"enabled": True, "storageClass": "fast"},
            },
        },
        "serviceAccount": {"create": False, "name": "of-others"},
        "sandbox": {
            "enabled": True,
            "key": {"existingSecret": "sandbox"},
            "seccomp": {"type": "Unconfined"},
        },
        "image": {"digest": "sha256:" + "0" * 64},
        "imagePullSecrets": [{"name": "registry"}],
    }
)

ELSEWHERE = but({"config": {"sandbox": {"url": "http://executor.programs.svc:8090"}}})

CASES: Mapping[str, Values] = {
    "minimal": MINIMAL,
    "own": OWN,
    "full": FULL,
    "keda": PRODUCTION_REDIS,
    "kept": KEPT_REDIS,
    "elsewhere": ELSEWHERE,
}

PROFILES = sorted((CHART / "profiles").glob("*.yaml"))
