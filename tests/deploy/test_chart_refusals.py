"""Values that cannot work are refused by their path, by Helm 3 and Helm 4 alike."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.deploy.chart import refused, rendered
from tests.deploy.chart_cases import FULL, MINIMAL, OWN, but
from tests.deploy.tools import Tools

pytestmark = pytest.mark.deploy

SMALL = MINIMAL["tiers"]["small"]
LARGE = {**SMALL, "rank": 2, "settings": {"model": "other"}}

BY_SCHEMA: Mapping[str, tuple[dict[str, Any], str]] = {
    "an unknown value": ({"replicas": 3}, "replicas"),
    "an unknown value inside": ({"gateway": {"replica": 3}}, "gateway replica"),
    "a number as text": ({"gateway": {"replicas": "two"}}, "gateway.replicas"),
    "a kind that there is none of": ({"redis": {"kind": "cluster"}}, "redis.kind"),
    "an unknown setting": ({"config": {"limit": {}}}, "config limit"),
    "an unknown setting inside": ({"config": {"limits": {"calls": 1}}}, "config.limits calls"),
    "a setting out of range": ({"config": {"limits": {"max_calls": 0}}}, "config.limits.max_calls"),
    "an unknown kind of policy": ({"config": {"policy": {"kind": "luck"}}}, "config.policy.kind"),
    "a field of another kind": (
        {"config": {"policy": {"kind": "static", "quality": 1}}},
        "config.policy quality",
    ),
    "a field of no default kind": ({"config": {"cache": {"size": 1}}}, "config.cache size"),
    "tiers in the config": ({"config": {"tiers": []}}, "config tiers"),
    "embeddings in the config": ({"config": {"embeddings": []}}, "config embeddings"),
    "a host": ({"config": {"server": {"host": "::1"}}}, "config.server host"),
    "a port": ({"config": {"server": {"port": 1}}}, "config.server port"),
    "processes": ({"config": {"server": {"processes": 2}}}, "config.server processes"),
    "a delay twice": ({"config": {"server": {"drain_delay_s": 2}}}, "config.server drain_delay_s"),
    "an open door in the config": (
        {"config": {"server": {"allow_unauthenticated": True}}},
        "config.server allow_unauthenticated",
    ),
    "a Redis's address": ({"config": {"redis": {"url": "redis://x"}}}, "config.redis url"),
    "a cache's address": (
        {"config": {"cache": {"kind": "redis", "url": "redis://x"}}},
        "config.cache url",
    ),
    "a secret in the config": (
        {"config": {"auth": {"cache_salt_key": "0123456789abcdef"}}},
        "config.auth cache_salt_key",
    ),
    "a file of keys in the config": (
        {"config": {"auth": {"keys_file": "x"}}},
        "config.auth keys_file",
    ),
    "a sandbox beside the gateway": (
        {"config": {"sandbox": {"kind": "bubblewrap"}}},
        "config.sandbox kind",
    ),
    "a limit of programs that is none": (
        {"sandbox": {"config": {"memory_mb": 5}}},
        "sandbox.config memory_mb",
    ),
    "a tier without a rank": (
        {"tiers": {"large": {"settings": {"model": "m"}, "external": {"urls": ["http://x"]}}}},
        "tiers.large rank",
    ),
    "a tier without a model": (
        {"tiers": {"large": {**LARGE, "settings": {"tools": True}}}},
        "tiers.large.settings model",
    ),
    "workers in a tier's settings": (
        {"tiers": {"large": {**LARGE, "settings": {"model": "m", "workers": []}}}},
        "tiers.large.settings workers",
    ),
    "a tier's name that names no object": ({"tiers": {"Large_1": LARGE}}, "tiers Large_1"),
    "an address with a password": (
        {"tiers": {"large": {**LARGE, "external": {"urls": ["http://u:p@x/v1"]}}}},
        "tiers.large.external.urls.0",
    ),
    "a search of no kind": (
        {"tiers": {"large": {**LARGE, "external": {"discover": {"kind": "consul"}}}}},
        "tiers.large.external.discover.kind",
    ),
    "a search without a kind": (
        {"tiers": {"large": {**LARGE, "external": {"discover": {"host": "x"}}}}},
        "tiers.large.external.discover kind",
    ),
    "a digest that is none": ({"image": {"digest": "latest"}}, "image.digest"),
    "a whole part taken away": ({"redis": None}, " redis"),
    "a secret itself": ({"auth": {"token": "x"}}, "auth token"),
    "a port beyond all": ({"service": {"port": 70_000}}, "service.port"),
    "a time that is none": ({"httpRoute": {"requestTimeout": "long"}}, "httpRoute.requestTimeout"),
}
"""Changes, the path that is named and the key, if it is one that should not be there."""

BY_TEMPLATES: Mapping[str, tuple[dict[str, Any], str]] = {
    "a rank twice": (
        {"tiers": {"large": {**LARGE, "rank": 1}}},
        "tiers: large and small both have rank 1",
    ),
    "a tier of nobody": (
        {"tiers": {"large": {"rank": 2, "settings": {"model": "m"}}}},
        "tiers.large: give exactly one of vllm",
    ),
    "a tier of both": (
        {"tiers": {"large": {**LARGE, "vllm": {"model": "m"}}}},
        "tiers.large: give exactly one of vllm",
    ),
    "an external tier that is nowhere": (
        {"tiers": {"large": {**LARGE, "external": {"apiKey": {"existingSecret": "x"}}}}},
        "tiers.large.external: give either urls or discover",
    ),
    "a model of two tiers": (
        {"tiers": {"large": {**SMALL, "rank": 2}}},
        "qwen-small is also the name or model of tiers.large",
    ),
    "a tier called auto": ({"tiers": {"auto": LARGE}}, "tiers.auto: 'auto' is the name"),
    "a policy for a tier that is missing": (
        {"config": {"policy": {"kind": "static", "tier": "huge", "strategy": "single"}}},
        "config.policy.tier: no tier is named huge; tiers are small",
    ),
    "no word about who may ask": (
        {"auth": {"allowUnauthenticated": False}},
        "auth: say exactly one of existingSecret",
    ),
    "two words about who may ask": (
        {"auth": {"existingSecret": "keys"}},
        "given: existingSecret, allowUnauthenticated",
    ),
    "a salt without keys": (
        {"auth": {"cacheSalt": {"existingSecret": "x"}}},
        "auth.allowUnauthenticated: without API keys",
    ),
    "keys in no Redis": (
        {"auth": {"inRedis": True, "allowUnauthenticated": False}},
        "auth.inRedis: needs a Redis",
    ),
    "keys in a Redis that forgets": (
        {
            "auth": {"inRedis": True, "allowUnauthenticated": False},
            "redis": {"kind": "bundled", "bundled": {"password": {"existingSecret": "x"}}},
        },
        "auth.inRedis: the API keys would be gone",
    ),
    "a bundled Redis without a password": (
        {"redis": {"kind": "bundled"}},
        "redis.bundled.password.existingSecret: name the Secret",
    ),
    "an external Redis that is nowhere": (
        {"redis": {"kind": "external"}},
        "redis.external.existingSecret: name the Secret",
    ),
    "a cache in no Redis": (
        {"config": {"cache": {"kind": "redis"}}},
        "config.cache.kind: redis needs",
    ),
    "labels in no Redis": (
        {"config": {"feedback": {"kind": "redis"}}},
        "config.feedback.kind: redis needs one",
    ),
    "patience with no Redis": (
        {"config": {"redis": {"timeout_ms": 5}}},
        "config.redis: there is no Redis",
    ),
    "an executor without a key": (
        {"sandbox": {"enabled": True}},
        "sandbox.key.existingSecret: name the Secret",
    ),
    "an executor of two places": (
        {
            "sandbox": {"enabled": True, "key": {"existingSecret": "x"}},
            "config": {"sandbox": {"url": "http://x"}},
        },
        "config.sandbox.url: the chart's own executor is enabled",
    ),
    "an executor of no place": (
        {"config": {"sandbox": {"queue_s": 3}}},
        "config.sandbox.url: give the address",
    ),
    "programs without an executor": (
        {"config": {"policy": {"kind": "static", "strategy": "cot_pot"}}},
        "config.policy.strategy: cot_pot runs programs; set sandbox.enabled",
    ),
    "programs without an executor, said in passing": (
        {"config": {"policy": {"middle": "code_cluster"}}},
        "config.policy.middle: code_cluster runs programs",
    ),
    "an autoscaler without a bound": (
        {"gateway": {"autoscaling": {"kind": "hpa"}}},
        "gateway.autoscaling.maxReplicas: is 0 and minReplicas is 2",
    ),
    "an Ingress of no name": ({"ingress": {"enabled": True}}, "ingress.hosts: give at least one"),
    "a route of no Gateway": ({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs: name the"),
    "a pool without a picker": (
        {"inferencePool": {"enabled": True}},
        "inferencePool.endpointPicker.name: name the Service",
    ),
    "a pool of somebody else's pods": (
        {
            "inferencePool": {
                "enabled": True,
                "tiers": ["small"],
                "endpointPicker": {"name": "x"},
            }
        },
        "inferencePool.tiers: small is no tier with vllm",
    ),
    "a wall with nobody outside": (
        {"networkPolicy": {"enabled": True}},
        "networkPolicy.gatewayEgress: tiers.small.external could not be reached",
    ),
    "a wall before the collector of traces": (
        {
            "networkPolicy": {"enabled": True},
            "config": {"tracing": {"endpoint": "http://otel:4318"}},
        },
        "networkPolicy.gatewayEgress: tiers.small.external, config.tracing could not be reached",
    ),
}


@pytest.mark.parametrize("name", BY_SCHEMA)
def test_the_schema_refuses_and_names_the_path(tools: Tools, name: str) -> None:
    changes, where = BY_SCHEMA[name]
    path, _, key = where.partition(" ")
    for helm in (tools.helm3, tools.helm4):
        said = refused(helm, but(changes)).replace("at '/", "at '").replace("/", ".")
        assert "values don't meet the specifications of the schema" in said
        assert path in said or not key, said
        assert (key or path) in said


@pytest.mark.parametrize("name", BY_TEMPLATES)
def test_the_templates_refuse_and_name_the_path(tools: Tools, name: str) -> None:
    changes, said = BY_TEMPLATES[name]
    for helm in (tools.helm3, tools.helm4):
        assert said in refused(helm, but(changes))


def test_no_tier_is_none_too_few_to_name(tools: Tools) -> None:
    for helm in (tools.helm3, tools.helm4):
        said = refused(helm, {"auth": {"allowUnauthenticated": True}})
        assert "tiers: give at least one" in said


def test_what_is_refused_is_refused_for_nothing_else(tools: Tools) -> None:
    for values in (MINIMAL, OWN, FULL):
        assert rendered(tools.helm3, values)
