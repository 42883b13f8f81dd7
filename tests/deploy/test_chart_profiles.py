"""The profiles: what each promises, that the gateway takes its configuration, and lint."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.cases import PROFILES, profile, profiles
from tests.deploy.chart import CHART, Object, named, of_kind, rendered
from tests.deploy.gateway_settings import settings_of
from tests.deploy.objects import Pod, pod_of, pods
from tests.deploy.tools import Tools

pytestmark = pytest.mark.deploy

SECRETS = {
    "entroute-redis/password": "a1b2c3",
    "entroute-redis/url": "redis://:a1b2c3@redis.example:6379/0",
    "entroute-sandbox/key": "0123456789abcdef0123456789abcdef",
    "entroute-vllm/api-key": "worker-key",
    "entroute-salt/cache-salt-key": "0123456789abcdef0123456789abcdef",
    "large-endpoint/api-key": "key-of-large",
}
CREATED = re.compile(r"create secret generic (\S+)")
URL = r"^https?://\S+/v1$"


def objects(tools: Tools, name: str) -> list[Object]:
    return rendered(tools.helm4, profile(name), namespace="llm")


def named_secrets(node: Any) -> Iterator[str]:
    """Yield the Secrets that values name."""
    if isinstance(node, dict):
        if node.get("existingSecret"):
            yield node["existingSecret"]
        for value in node.values():
            yield from named_secrets(value)


@pytest.mark.parametrize("name", profiles())
def test_lint_finds_nothing_to_say(tools: Tools, name: str) -> None:
    for helm in (tools.helm3, tools.helm4):
        file = PROFILES / f"{name}.yaml"
        command = [str(helm), "lint", "--strict", str(CHART), "-f", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", profiles())
def test_the_gateway_takes_the_configuration(tools: Tools, name: str, tmp_path: Path) -> None:
    settings = settings_of(objects(tools, name), tmp_path, SECRETS)
    ranked = sorted(profile(name)["tiers"], key=lambda tier: profile(name)["tiers"][tier]["rank"])
    assert [tier.name for tier in settings.tiers] == ranked


@pytest.mark.parametrize("name", profiles())
def test_a_profile_says_how_to_make_the_secrets_that_it_names(name: str) -> None:
    text = (PROFILES / f"{name}.yaml").read_text(encoding="utf-8")
    assert set(CREATED.findall(text)) == set(named_secrets(profile(name)))


def test_minimal_is_one_gateway_and_its_test_and_says_that_anybody_may_ask(
    tools: Tools, tmp_path: Path
) -> None:
    made = objects(tools, "minimal")
    assert sorted(one["kind"] for one in made) == [
        "ConfigMap",
        "Deployment",
        "Pod",
        "Service",
        "ServiceAccount",
    ]
    settings = settings_of(made, tmp_path, {})
    assert settings.server.allow_unauthenticated
    assert settings.auth is None
    assert settings.redis is None


def test_gpu_runs_two_tiers_and_shares_the_large_model_over_two_gpus(tools: Tools) -> None:
    made = objects(tools, "gpu")
    gpus = {
        name: pod_of(made, f"Deployment/entroute-tier-{name}").container("vllm")["resources"][
            "limits"
        ]["nvidia.com/gpu"]
        for name in ("small", "large")
    }
    assert gpus == {"small": 1, "large": 2}


def test_external_starts_no_model_and_keys_follow_the_order_of_rank(
    tools: Tools, tmp_path: Path
) -> None:
    made = objects(tools, "external")
    assert not [pod for pod in pods(made) if "vllm" in {c["name"] for c in pod.containers}]
    settings = settings_of(made, tmp_path, SECRETS)
    keys = {
        tier.name: [worker.api_key and worker.api_key.get_secret_value() for worker in tier.workers]
        for tier in settings.tiers
    }
    assert keys == {"small": [None], "medium": [None], "large": ["key-of-large"], "reserve": []}
    assert [tier.discover is not None for tier in settings.tiers] == [False, False, False, True]
    for tier in settings.tiers:
        for worker in tier.workers:
            assert re.match(URL, worker.url), worker.url


def replicas_at_least(made: list[Object], name: str) -> int:
    """Return the fewest pods that a deployment has."""
    scaled = [o for o in of_kind(made, "ScaledObject") if o["metadata"]["name"] == name]
    if scaled:
        return int(scaled[0]["spec"]["minReplicaCount"])
    return int(named(made, "Deployment", name)["spec"]["replicas"])


def spread(pod: Pod) -> bool:
    return bool(pod.spec.get("topologySpreadConstraints"))


def test_production_has_no_single_part_that_may_not_fail(tools: Tools) -> None:
    made = objects(tools, "production")
    deployments = {one["metadata"]["name"] for one in of_kind(made, "Deployment")}
    assert deployments == {
        "entroute",
        "entroute-sandbox",
        "entroute-tier-large",
        "entroute-tier-small",
    }
    assert of_kind(made, "StatefulSet") == []  # its Redis is kept elsewhere
    budgets = {one["metadata"]["name"] for one in of_kind(made, "PodDisruptionBudget")}
    assert budgets == deployments
    for name in deployments:
        assert replicas_at_least(made, name) >= 2, name
    for name in deployments - {"entroute-sandbox"}:
        assert spread(pod_of(made, f"Deployment/{name}")), name


def test_production_closes_the_network_scales_and_is_watched(tools: Tools) -> None:
    made = objects(tools, "production")
    kinds = {one["kind"] for one in made}
    assert {"ServiceMonitor", "PodMonitor", "PrometheusRule", "HTTPRoute"} <= kinds
    scaled = {one["metadata"]["name"] for one in of_kind(made, "ScaledObject")}
    assert scaled == {"entroute", "entroute-tier-large", "entroute-tier-small"}
    for policy in of_kind(made, "NetworkPolicy"):
        assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}


def test_production_keeps_its_keys_to_itself(tools: Tools, tmp_path: Path) -> None:
    settings = settings_of(objects(tools, "production"), tmp_path, SECRETS)
    assert settings.auth is not None
    assert settings.auth.keys == "redis"
    assert settings.sandbox is not None
    for tier in settings.tiers:
        assert tier.discover is not None
        assert tier.discover.kind == "kubernetes"
        assert tier.discover.api_key is not None
        assert tier.discover.api_key.get_secret_value() == "worker-key"
