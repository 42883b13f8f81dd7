"""What Prometheus and Grafana are given."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.cases import elsewhere, values, worker
from tests.deploy.chart import CHART, Object, named, of_kind, refused, rendered
from tests.deploy.objects import pods, selects
from tests.deploy.tools import Tools

pytestmark = pytest.mark.deploy

RULES = CHART / "files/rules"
DASHBOARDS = sorted((CHART / "files/dashboards").glob("*.json"))
LARGEST = 1024 * 1024
"""Bytes that a ConfigMap may hold."""


def objects(tools: Tools, *, release: str = "entroute", **monitoring: Any) -> list[Object]:
    tiers = {"small": worker(), "large": elsewhere(2, "large-model")}
    embedder = {"rank": 1, "settings": {"model": "e"}, "vllm": {"model": "org/e"}}
    told = values(tiers, embeddings={"passages": embedder}, monitoring=monitoring)
    return rendered(tools.helm4, told, namespace="llm", release=release)


def rules(tools: Tools, **more: Any) -> dict[str, Any]:
    (rule,) = of_kind(objects(tools, rules={"enabled": True, **more}), "PrometheusRule")
    return dict(rule["spec"])


def committed() -> dict[str, Any]:
    """Return the groups of all rule files, by name."""
    return {
        group["name"]: group
        for path in sorted(RULES.glob("*.yaml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    }


def test_nothing_of_monitoring_is_made_unless_asked_for(tools: Tools) -> None:
    kinds = {one["kind"] for one in objects(tools)}
    assert not {"ServiceMonitor", "PodMonitor", "PrometheusRule"} & kinds
    assert [one for one in objects(tools) if "dashboard" in one["metadata"]["name"]] == []


def test_a_cluster_without_the_operator_s_kinds_still_renders(tools: Tools) -> None:
    told = values({"small": worker()}, monitoring={"serviceMonitor": {"enabled": True}})
    assert of_kind(rendered(tools.helm4, told, api_versions=()), "ServiceMonitor")


@pytest.mark.parametrize("release", ["entroute", "blue"])
def test_a_gateway_s_job_is_the_release_s_name(tools: Tools, release: str) -> None:
    made = objects(tools, release=release, serviceMonitor={"enabled": True})
    (monitor,) = of_kind(made, "ServiceMonitor")
    found = [
        one
        for one in of_kind(made, "Service")
        if selects(monitor["spec"]["selector"], one["metadata"]["labels"])
    ]
    (service,) = found
    fullname = "entroute" if release == "entroute" else "blue-entroute"
    assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == fullname
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["path"] == "/metrics"


def test_monitors_carry_the_labels_that_a_prometheus_chooses_by(tools: Tools) -> None:
    part = {"enabled": True, "labels": {"release": "kube-prometheus"}, "interval": "30s"}
    made = objects(tools, serviceMonitor=part, podMonitor=part)
    for kind, endpoints in (("ServiceMonitor", "endpoints"), ("PodMonitor", "podMetricsEndpoints")):
        (monitor,) = of_kind(made, kind)
        assert monitor["metadata"]["labels"]["release"] == "kube-prometheus"
        assert monitor["spec"][endpoints][0]["interval"] == "30s"


def test_workers_are_scraped_as_the_job_that_queries_name(tools: Tools) -> None:
    made = objects(tools, podMonitor={"enabled": True})
    (monitor,) = of_kind(made, "PodMonitor")
    found = {pod.owner for pod in pods(made) if selects(monitor["spec"]["selector"], pod.labels)}
    assert found == {"Deployment/entroute-tier-small", "Deployment/entroute-embedding-passages"}
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert {"targetLabel": "job", "action": "replace", "replacement": "vllm"} in endpoint[
        "relabelings"
    ]


def test_no_label_of_a_worker_s_target_hides_one_of_vllm_s_own(tools: Tools) -> None:
    (monitor,) = of_kind(objects(tools, podMonitor={"enabled": True}), "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    ours = {rule["targetLabel"] for rule in endpoint["relabelings"]}
    page = Path(__file__).parents[1] / "vllm/metrics_0_32.txt"
    assert 'model_name="' in page.read_text(encoding="utf-8")
    for label in ours:
        assert f'{label}="' not in page.read_text(encoding="utf-8"), label


def test_without_workers_of_its_own_a_release_scrapes_none(tools: Tools) -> None:
    told = values({"small": elsewhere()}, monitoring={"podMonitor": {"enabled": True}})
    assert of_kind(rendered(tools.helm4, told), "PodMonitor") == []


def test_rules_are_the_committed_ones(tools: Tools) -> None:
    groups = {group["name"]: group for group in rules(tools)["groups"]}
    assert groups == committed()


def test_values_replace_every_objective_and_nothing_else(tools: Tools) -> None:
    said = {
        "availability": 0.99,
        "ttft": 0.9,
        "ttftThresholdSeconds": "1.0",
        "leastFailures": 3,
        "spendUsdPerHour": 7.5,
    }
    groups = {group["name"]: group for group in rules(tools, objectives=said)["groups"]}
    changed = groups.pop("entroute.objectives")
    before = committed()
    assert [rule["record"] for rule in changed["rules"]] == [
        rule["record"] for rule in before.pop("entroute.objectives")["rules"]
    ]
    found = {
        rule["record"].rpartition(":")[2]: (rule["expr"], rule.get("labels"))
        for rule in changed["rules"]
    }
    assert found == {
        "availability": ("vector(0.99)", None),
        "ttft": ("vector(0.9)", None),
        "ttft_threshold": ("vector(1)", {"le": "1.0"}),
        "least_failures": ("vector(3)", None),
        "spend_usd_per_hour": ("vector(7.5)", None),
    }
    assert groups == before


def test_a_threshold_that_is_no_bucket_s_bound_is_refused(tools: Tools) -> None:
    told = values(
        {"small": elsewhere()},
        monitoring={"rules": {"objectives": {"ttftThresholdSeconds": "3.0"}}},
    )
    assert "ttftThresholdSeconds" in refused(tools.helm4, told)


def test_alerts_link_to_the_runbook_and_carry_labels_for_routing(tools: Tools) -> None:
    base = "https://example.com/docs/"
    made = rules(tools, runbookBaseUrl=base, alertLabels={"team": "models", "severity": "none"})
    alerts = [rule for group in made["groups"] for rule in group["rules"] if "alert" in rule]
    assert alerts
    for alert in alerts:
        about = alert["annotations"]
        assert about["runbook_url"] == base + about["runbook"]
        assert alert["labels"]["team"] == "models"
        assert alert["labels"]["severity"] in {"page", "ticket"}


@pytest.mark.parametrize("objectives", [{}, {"availability": 0.9999, "spendUsdPerHour": 1e7}])
def test_prometheus_reads_the_rules(
    tools: Tools, tmp_path: Path, objectives: dict[str, Any]
) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(rules(tools, objectives=objectives)), encoding="utf-8")
    command = [str(tools.promtool), "check", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_dashboards_are_the_committed_ones_byte_for_byte(tools: Tools) -> None:
    made = objects(tools, dashboards={"enabled": True, "folder": "Models"})
    assert DASHBOARDS
    for path in DASHBOARDS:
        one = named(made, "ConfigMap", f"entroute-dashboard-{path.stem}")
        assert one["data"] == {f"entroute-{path.name}": path.read_text(encoding="utf-8")}
        assert one["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert one["metadata"]["annotations"] == {"grafana_folder": "Models"}
        assert len(json.dumps(one).encode()) < LARGEST


def test_the_adapter_s_rules_name_the_metrics_that_autoscalers_ask_for(tools: Tools) -> None:
    scaled = worker(autoscaling={"kind": "hpa"})
    gateway = {"autoscaling": {"kind": "hpa", "maxReplicas": 4}}
    made = rendered(tools.helm4, values({"small": scaled}, gateway=gateway))
    asked = {
        metric["pods"]["metric"]["name"]
        for one in of_kind(made, "HorizontalPodAutoscaler")
        for metric in one["spec"]["metrics"]
    }
    adapter = CHART / "files/adapter/prometheus-adapter.yaml"
    series = [
        rule["seriesQuery"]
        for rule in yaml.safe_load(adapter.read_text(encoding="utf-8"))["rules"]["custom"]
    ]
    assert asked
    for name in asked:
        assert any(name.replace("vllm_", "vllm:") in query for query in series), name
