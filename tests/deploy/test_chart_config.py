"""The configuration that the chart writes is one that entroute takes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from entroute.loading import load
from entroute.settings import Settings
from tests.deploy.chart import Object, of_kind, rendered
from tests.deploy.chart_cases import CASES, FULL, KEPT_REDIS, OWN, PRODUCTION_REDIS, PROFILES, but
from tests.deploy.chart_walk import containers
from tests.deploy.tools import Tools

pytestmark = pytest.mark.deploy

SECRETS = {"ENTROUTE_REDIS__URL": "redis://:word@redis.example:6379/0", "REDIS_PASSWORD": "word"}


def settings_of(objects: list[Object], folder: Path) -> Settings:
    """Return what entroute reads of the rendered ConfigMap under the rendered environment."""
    [gateway] = [one for one in of_kind(objects, "Deployment") if _component(one) == "gateway"]
    [container] = containers(gateway["spec"]["template"])
    [config] = [
        one for one in of_kind(objects, "ConfigMap") if "gateway.yaml" in one.get("data", {})
    ]
    path = folder / "gateway.yaml"
    path.write_text(config["data"]["gateway.yaml"], encoding="utf-8")
    assert container["args"] == ["serve", "--config", "/etc/entroute/gateway.yaml"]
    return load(path, environment(container.get("env", [])))


def environment(variables: list[Mapping[str, Any]]) -> dict[str, str]:
    """Return variables as a kubelet sets them, secrets made up."""
    known: dict[str, str] = {}
    for variable in variables:
        name = variable["name"]
        value = variable.get("value", SECRETS.get(name, f"a-secret-of-{name}"))
        for other, earlier in known.items():
            value = value.replace(f"$({other})", earlier)
        known[name] = value
    return known


def _component(one: Object) -> str:
    return str(one["metadata"]["labels"]["app.kubernetes.io/component"])


@pytest.mark.parametrize("name", CASES)
def test_entroute_takes_the_configuration_of_every_case(
    tools: Tools, tmp_path: Path, name: str
) -> None:
    for helm in (tools.helm3, tools.helm4):
        settings = settings_of(rendered(helm, CASES[name]), tmp_path)
        assert [tier.name for tier in settings.tiers] == _by_rank(CASES[name])
        assert (settings.server.host, settings.server.port) == ("0.0.0.0", 8080)


def _by_rank(values: Mapping[str, Any]) -> list[str]:
    tiers: Mapping[str, Any] = values["tiers"]
    return sorted(tiers, key=lambda name: int(tiers[name]["rank"]))


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.stem)
def test_entroute_takes_the_configuration_of_every_profile(
    tools: Tools, tmp_path: Path, profile: Path
) -> None:
    assert settings_of(rendered(tools.helm3, profile), tmp_path).tiers


def test_own_workers_are_found_by_the_names_of_their_services(tools: Tools, tmp_path: Path) -> None:
    objects = rendered(tools.helm4, OWN, namespace="models", release="x")
    small, middle, large = settings_of(objects, tmp_path).tiers
    assert [worker.url for worker in small.workers] == ["http://small.models.svc:8000/v1"]
    for tier in (middle, large):
        assert tier.discover is not None
        assert tier.discover.kind == "dns"
        service, _, rest = tier.discover.host.partition(".")
        assert rest == "models.svc.cluster.local"
        [found] = [one for one in of_kind(objects, "Service") if one["metadata"]["name"] == service]
        assert found["spec"]["clusterIP"] == "None"
        assert found["spec"]["ports"][0]["port"] == tier.discover.port
    assert large.discover is not None
    assert large.discover.api_key is not None
    assert middle.discover is not None
    assert middle.discover.api_key is None


def test_own_workers_are_told_of_by_kubernetes_where_that_is_asked(
    tools: Tools, tmp_path: Path
) -> None:
    objects = rendered(tools.helm3, but({"discovery": "kubernetes"}, OWN), namespace="models")
    tier = settings_of(objects, tmp_path).tiers[1]
    assert tier.discover is not None
    assert tier.discover.kind == "kubernetes"
    assert tier.discover.namespace == "models"
    [found] = [
        one
        for one in of_kind(objects, "Service")
        if one["metadata"]["name"] == tier.discover.service
    ]
    assert found["spec"]["ports"][0]["name"] == tier.discover.port


def test_secrets_reach_their_places_and_stay_out_of_the_configuration(
    tools: Tools, tmp_path: Path
) -> None:
    objects = rendered(tools.helm3, FULL)
    settings = settings_of(objects, tmp_path)
    assert settings.redis is not None
    assert settings.redis.url.get_secret_value() == "redis://:word@entroute-redis:6379/0"
    assert settings.auth is not None
    assert settings.auth.cache_salt_key is not None
    assert str(settings.auth.keys_file) == "/etc/entroute/keys/keys.yaml"
    assert settings.sandbox is not None
    assert settings.sandbox.kind == "http"
    assert settings.sandbox.url == "http://entroute-sandbox:8090"
    assert settings.sandbox.queue_s == 5
    assert settings.sandbox.api_key is not None
    [embedding] = settings.embeddings
    assert embedding.discover is not None
    assert embedding.discover.api_key is not None
    written = (tmp_path / "gateway.yaml").read_text()
    assert "word" not in written
    assert "secret" not in written


def test_what_the_config_says_is_kept_and_overridden_by_variables(
    tools: Tools, tmp_path: Path
) -> None:
    settings = settings_of(rendered(tools.helm4, FULL), tmp_path)
    assert settings.server.drain_s == 120.5
    assert settings.server.max_body_bytes == 16_000_000
    assert settings.server.drain_delay_s == 10
    assert settings.auth is not None
    assert settings.auth.when_redis_fails == "closed"
    assert settings.cache.kind == "redis"
    assert settings.limits.max_calls == 8


def test_one_address_of_redis_serves_all_that_use_it(tools: Tools, tmp_path: Path) -> None:
    settings = settings_of(rendered(tools.helm3, PRODUCTION_REDIS), tmp_path)
    assert settings.redis is not None
    assert settings.redis.timeout_ms == 80
    assert settings.redis.url.get_secret_value() == SECRETS["ENTROUTE_REDIS__URL"]
    assert settings.auth is not None
    assert settings.auth.keys == "redis"
    kept = settings_of(rendered(tools.helm3, KEPT_REDIS), tmp_path)
    assert kept.auth is not None
    assert kept.auth.keys == "redis"
