"""The chart on a live cluster: strict dry runs of every profile, install, upgrade, rollback.

These need KUBECONFIG, and in the cluster the gateway's image: `ENTROUTE_IMAGE` says which
(`repository:tag`; `entroute` of the chart's version when left out). They are skipped without.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy import live_worker
from tests.deploy.cases import elsewhere, profile, profiles, values
from tests.deploy.chart import CHART, Object, rendered
from tests.deploy.cluster import Cluster, cluster
from tests.deploy.objects import pods
from tests.deploy.pod_security import violations
from tests.deploy.tools import Tools

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        "KUBECONFIG" not in os.environ, reason="KUBECONFIG is not set: no cluster to try this on"
    ),
]


@pytest.fixture(scope="module", params=["helm3", "helm4"])
def live(request: pytest.FixtureRequest, tools: Tools) -> Iterator[Cluster]:
    with cluster(getattr(tools, request.param), tools.kubectl) as there:
        yield there


def image() -> dict[str, str]:
    """Return the gateway's image as values say it."""
    version = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["appVersion"]
    repository, _, tag = os.environ.get("ENTROUTE_IMAGE", f"entroute:{version}").rpartition(":")
    return {"repository": repository, "tag": tag}


def worker() -> list[Object]:
    """Return a model server that is a program in the gateway's image, and its Service."""
    labels = {"app": "worker"}
    told = image()
    container = {
        "name": "worker",
        "image": f"{told['repository']}:{told['tag']}",
        "command": ["python", "-c", Path(live_worker.__file__).read_text(encoding="utf-8")],
        "ports": [{"containerPort": live_worker.PORT}],
        "readinessProbe": {"httpGet": {"path": "/v1/models", "port": live_worker.PORT}},
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    pod = {
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "worker"},
            "spec": {"selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "worker"},
            "spec": {"selector": labels, "ports": [{"port": live_worker.PORT}]},
        },
    ]


def told(live: Cluster, **more: Any) -> dict[str, Any]:
    """Return values of a release in front of that worker."""
    url = f"http://worker.{live.namespace}.svc:{live_worker.PORT}/v1"
    tier = elsewhere(1, live_worker.MODEL, url)
    return values({"small": tier}, image=image(), **more)


@pytest.mark.parametrize("name", profiles())
def test_the_server_takes_every_object_of_a_profile(live: Cluster, name: str) -> None:
    made = rendered(live.helm, profile(name), namespace=live.namespace)
    taken = [one for one in made if live.serves(one)]
    assert taken
    for one in taken:
        live.take(one, "--dry-run=server")


def test_a_release_is_installed_answers_is_upgraded_and_rolled_back(
    live: Cluster, tmp_path: Path
) -> None:
    fake = worker()
    assert [fault for pod in pods(fake) for fault in violations(pod)] == []
    for one in fake:
        live.take(one)
    file = tmp_path / "values.yaml"

    live.release("install", told(live), file)
    live.run(live.helm, "test", "entroute", "--timeout", "3m")
    first = live.get("deployment", "entroute")
    assert first["status"]["readyReplicas"] == 2

    live.release("upgrade", told(live, config={"limits": {"max_calls": 5}}), file)
    second = live.get("deployment", "entroute")
    assert second["spec"]["template"] != first["spec"]["template"]  # new settings, new pods
    assert "max_calls: 5" in live.get("configmap", "entroute")["data"]["gateway.yaml"]

    live.run(live.helm, "rollback", "entroute", "1", "--wait", "--timeout", "5m")
    assert live.get("deployment", "entroute")["spec"]["template"] == first["spec"]["template"]
    assert "max_calls" not in live.get("configmap", "entroute")["data"]["gateway.yaml"]
    live.run(live.helm, "test", "entroute", "--timeout", "3m")

    live.run(live.helm, "uninstall", "entroute", "--wait")
