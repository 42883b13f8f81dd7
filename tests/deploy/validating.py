"""Validates rendered objects: Kubernetes' own by its schemas, custom ones by those in `schemas`."""

import functools
import json
from pathlib import Path

import kubernetes_validate  # type: ignore[import-untyped]
from jsonschema import Draft202012Validator

from tests.deploy.chart import Object
from tests.deploy.objects import title

SCHEMAS = Path(__file__).with_name("schemas")
OLDEST, NEWEST = "1.29", "1.37"
"""Versions of Kubernetes that the chart is for."""

CUSTOM = {
    ("monitoring.coreos.com/v1", "ServiceMonitor"): "servicemonitor_v1",
    ("monitoring.coreos.com/v1", "PodMonitor"): "podmonitor_v1",
    ("monitoring.coreos.com/v1", "PrometheusRule"): "prometheusrule_v1",
    ("keda.sh/v1alpha1", "ScaledObject"): "scaledobject_v1alpha1",
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): "httproute_v1",
    ("inference.networking.k8s.io/v1", "InferencePool"): "inferencepool_v1",
}
"""Schemas of custom resources; an object of another kind is Kubernetes' own or unknown."""


def faults(one: Object) -> list[str]:
    """Return what is wrong with an object in the oldest or the newest Kubernetes."""
    schema = CUSTOM.get((one["apiVersion"], one["kind"]))
    if schema is not None:
        return [
            f"{title(one)} {error.json_path}: {error.message[:300]}"
            for error in _validator(schema).iter_errors(one)
        ]
    return [
        f"{title(one)} in {version}: {said}"
        for version in (OLDEST, NEWEST)
        for said in _own(one, version)
    ]


def _own(one: Object, version: str) -> list[str]:
    try:
        kubernetes_validate.validate(one, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{error.json_path}: {error.message[:300]}"]
    except kubernetes_validate.SchemaNotFoundError as unknown:
        return [unknown.message]
    return []


@functools.cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8")))
