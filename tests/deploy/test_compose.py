"""`deploy/compose.yaml` as Compose reads it, and the configurations that it mounts."""

import itertools
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from entroute.loading import load
from tests.deploy.images import ROOT
from tests.deploy.tools import Tools

pytestmark = pytest.mark.deploy

COMPOSE = ROOT / "deploy/compose.yaml"
PROFILES = ("cpu", "gpu", "observe")
COMBINATIONS = [
    combination
    for count in range(len(PROFILES) + 1)
    for combination in itertools.combinations(PROFILES, count)
]
GATEWAYS = {"gateway-cpu": "gateway.cpu.yaml", "gateway": "gateway.gpu.yaml"}
ONE_SHOT = {"models-owner"}
PINNED = re.compile(r"[:@](sha256:[0-9a-f]{64}|v?\d+\.\d+\.\d+|local)$")


def composed(tools: Tools, profiles: tuple[str, ...], **variables: str) -> dict[str, Any]:
    """Return what Compose makes of the file."""
    flags = [word for profile in profiles for word in ("--profile", profile)]
    done = subprocess.run(
        [str(tools.compose), "-f", str(COMPOSE), *flags, "config", "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **variables},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    parsed: dict[str, Any] = json.loads(done.stdout)
    return parsed


@pytest.fixture(scope="module")
def everything(tools: Tools) -> dict[str, Any]:
    return composed(tools, PROFILES)


@pytest.fixture(scope="module")
def services(everything: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = everything["services"]
    return found


@pytest.mark.parametrize("profiles", COMBINATIONS, ids=lambda chosen: "+".join(chosen) or "none")
def test_every_combination_of_profiles_is_valid(tools: Tools, profiles: tuple[str, ...]) -> None:
    expected = {
        "cpu": {"gateway-cpu"},
        "gpu": {"gateway", "small", "large", "models-owner"},
        "observe": {"prometheus", "alertmanager", "grafana"},
    }
    wanted = {"redis"}.union(*(expected[profile] for profile in profiles))
    assert set(composed(tools, profiles)["services"]) == wanted


def test_every_image_is_pinned(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert PINNED.search(service["image"]), f"{name}: {service['image']}"
        assert service["image"].endswith(":local") == ("build" in service), name


def test_every_service_is_hardened(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged"), name
        limits = service["deploy"]["resources"]["limits"]
        assert int(limits["memory"]) > 0 < limits["pids"], name
        assert service["restart"] == ("no" if name in ONE_SHOT else "unless-stopped"), name
    added = {name: service.get("cap_add") for name, service in services.items()}
    assert {name: caps for name, caps in added.items() if caps} == {"models-owner": ["CHOWN"]}
    assert services["models-owner"]["network_mode"] == "none"


def test_every_service_tells_its_health(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        check = service["healthcheck"]
        if name in ONE_SHOT:
            assert check["disable"]
        else:
            assert check["test"][0] in {"CMD", "CMD-SHELL"}, name
            assert check["retries"] >= 3, name


def test_ports_are_published_on_the_loopback_only(tools: Tools) -> None:
    published = {
        (name, port["target"], port["host_ip"])
        for name, service in composed(tools, PROFILES)["services"].items()
        for port in service.get("ports", [])
    }
    assert published == {
        ("gateway", 8080, "127.0.0.1"),
        ("gateway-cpu", 8080, "127.0.0.1"),
        ("prometheus", 9090, "127.0.0.1"),
        ("alertmanager", 9093, "127.0.0.1"),
        ("grafana", 3000, "127.0.0.1"),
    }
    elsewhere = composed(tools, PROFILES, ENTROUTE_BIND="10.0.0.7")["services"]["gateway"]
    assert [port["host_ip"] for port in elsewhere["ports"]] == ["10.0.0.7"]


def test_what_is_mounted_exists_and_is_read_only(everything: dict[str, Any]) -> None:
    binds = [
        (name, volume)
        for name, service in everything["services"].items()
        for volume in service.get("volumes", [])
        if volume["type"] == "bind"
    ]
    assert len(binds) >= 7
    for name, volume in binds:
        assert Path(volume["source"]).exists(), f"{name}: {volume['source']}"
        assert volume["read_only"], f"{name}: {volume['target']}"
    assert all(Path(secret["file"]).is_file() for secret in everything["secrets"].values())
    used = {
        volume["source"]
        for service in everything["services"].values()
        for volume in service.get("volumes", [])
        if volume["type"] == "volume"
    }
    assert used == set(everything["volumes"])


def test_a_webhook_of_ones_own_takes_the_place_of_the_placeholder(tools: Tools) -> None:
    named = composed(tools, ("observe",), ALERT_WEBHOOK_URL_FILE="/etc/hosts")
    assert named["secrets"]["webhook-url"]["file"] == "/etc/hosts"


@pytest.mark.parametrize("service", GATEWAYS)
def test_a_gateway_is_given_the_time_that_its_drain_takes(
    services: dict[str, dict[str, Any]], service: str
) -> None:
    server = load(ROOT / "deploy/compose" / GATEWAYS[service], {}).server
    minutes, seconds = re.fullmatch(  # type: ignore[union-attr]
        r"(?:(\d+)m)?(\d+)s", services[service]["stop_grace_period"]
    ).groups(default="0")
    assert 60 * int(minutes) + int(seconds) >= server.drain_delay_s + server.drain_s + 15


def test_the_tiers_of_gpu_are_the_workers_that_compose_starts(
    services: dict[str, dict[str, Any]],
) -> None:
    settings = load(ROOT / "deploy/compose/gateway.gpu.yaml", {})
    devices = []
    for tier in settings.tiers:
        assert tier.discover is not None
        assert tier.discover.kind == "dns"
        worker = services[tier.discover.host]
        assert f"--served-model-name={tier.model}" in worker["command"]
        assert f"--port={tier.discover.port}" in worker["command"]
        reserved = worker["deploy"]["resources"]["reservations"]["devices"][0]
        assert reserved["capabilities"] == ["gpu"]
        devices.append(reserved["device_ids"])
        assert set(worker["networks"]) & set(services["gateway"]["networks"])
        order = worker["depends_on"]["models-owner"]["condition"]
        assert order == "service_completed_successfully"
    assert devices == [["0"], ["1"]]
    assert services["gateway"]["depends_on"]["redis"]["condition"] == "service_healthy"


def test_only_gateways_reach_redis(everything: dict[str, Any]) -> None:
    services = everything["services"]
    inside = {name for name, service in services.items() if "state" in service.get("networks", {})}
    assert inside == {"redis", *GATEWAYS}
    assert everything["networks"]["state"]["internal"] is True
    assert set(services["redis"]["networks"]) == {"state"}


def test_prometheus_accepts_its_configuration_and_rules(
    tools: Tools, services: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    folder = _mounted(services["prometheus"], "/etc/prometheus", tmp_path)
    done = subprocess.run(
        [tools.promtool, "check", "config", folder / "prometheus.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    held = len(list((ROOT / "helm/entroute/files/rules").glob("*.yaml")))
    assert held > 0
    assert f"{held} rule files found" in done.stdout


def test_prometheus_scrapes_what_compose_starts(services: dict[str, dict[str, Any]]) -> None:
    text = (ROOT / "deploy/prometheus/prometheus.yml").read_text(encoding="utf-8")
    jobs = {job["job_name"]: job for job in yaml.safe_load(text)["scrape_configs"]}
    [gateways], [workers] = (jobs[name]["dns_sd_configs"] for name in ("entroute", "vllm"))
    assert (gateways["names"], gateways["port"]) == (["gateway"], 8080)
    assert (workers["names"], workers["port"]) == (["small", "large"], 8000)
    assert services["gateway-cpu"]["networks"]["watch"]["aliases"] == ["gateway"]
    for name in ("gateway", "gateway-cpu", "small", "large", "alertmanager"):
        assert set(services[name]["networks"]) & set(services["prometheus"]["networks"]), name


def test_alertmanager_accepts_its_configuration(tools: Tools) -> None:
    config = ROOT / "deploy/alertmanager/alertmanager.yml"
    words = [str(tools.amtool), "check-config", str(config)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for severity in ("page", "ticket"):
        routed = [str(tools.amtool), "config", "routes", "test", f"--config.file={config}"]
        answer = subprocess.run(
            [*routed, f"severity={severity}"], capture_output=True, text=True, check=True
        )
        assert answer.stdout.strip() == "webhook"


def test_grafana_finds_its_dashboards_and_its_datasource(
    services: dict[str, dict[str, Any]],
) -> None:
    provisioning = ROOT / "deploy/grafana/provisioning"
    [source] = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    assert set(services["grafana"]["networks"]) & set(services["prometheus"]["networks"])
    [provider] = yaml.safe_load((provisioning / "dashboards/entroute.yaml").read_text())[
        "providers"
    ]
    mounts = {volume["target"]: Path(volume["source"]) for volume in services["grafana"]["volumes"]}
    assert mounts["/etc/grafana/provisioning"] == provisioning
    dashboards = mounts[provider["options"]["path"]]
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (dashboards / Path(home).name).is_file()
    assert Path(home).parent == Path(provider["options"]["path"])


def _mounted(service: dict[str, Any], inside: str, folder: Path) -> Path:
    """Lay what a service mounts below `inside` out in a folder, and let its files name it so."""
    for volume in service["volumes"]:
        if volume["type"] == "bind" and volume["target"].startswith(f"{inside}/"):
            target = folder / volume["target"].removeprefix(f"{inside}/")
            source = Path(volume["source"])
            if source.is_dir():
                target.symlink_to(source)
            else:
                text = source.read_text(encoding="utf-8")
                target.write_text(text.replace(inside, str(folder)), encoding="utf-8")
    return folder
