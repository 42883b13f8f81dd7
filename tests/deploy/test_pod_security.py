"""The check of Pod Security itself: it lets good pods pass and finds every fault."""

import copy
from typing import Any

import pytest

from tests.deploy.objects import Pod
from tests.deploy.pod_security import violations

GOOD: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "main",
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            },
        }
    ],
    "volumes": [{"name": "tmp", "emptyDir": {}}],
}


def pod(spec: dict[str, Any]) -> Pod:
    return Pod(owner="Pod/p", labels={}, annotations={}, spec=spec)


def changed(path: str, value: Any) -> Pod:
    """Return the good pod with one thing in it changed."""
    spec: Any = copy.deepcopy(GOOD)
    *way, last = path.split(".")
    place = spec
    for key in way:
        place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
    place[last] = value
    return pod(spec)


def test_a_pod_that_gives_everything_up_may_run() -> None:
    assert violations(pod(GOOD)) == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("hostNetwork", True, "hostNetwork"),
        ("hostPID", True, "hostPID"),
        ("hostIPC", True, "hostIPC"),
        ("securityContext.runAsUser", 0, "runAsUser: 0"),
        ("securityContext.runAsNonRoot", False, "runAsNonRoot"),
        ("securityContext.seccompProfile", {"type": "Unconfined"}, "seccomp"),
        ("securityContext.seccompProfile", None, "seccomp"),
        ("securityContext.sysctls", [{"name": "kernel.msgmax", "value": "1"}], "kernel.msgmax"),
        ("securityContext.seLinuxOptions", {"type": "spc_t"}, "seLinux"),
        ("securityContext.appArmorProfile", {"type": "Unconfined"}, "appArmor"),
        ("securityContext.windowsOptions", {"hostProcess": True}, "hostProcess"),
        ("volumes", [{"name": "node", "hostPath": {"path": "/"}}], "hostPath"),
        ("volumes", [{"name": "far", "nfs": {"server": "a", "path": "/"}}], "nfs"),
        ("containers.0.securityContext", {}, "allowPrivilegeEscalation"),
        ("containers.0.securityContext.privileged", True, "privileged"),
        ("containers.0.securityContext.runAsUser", 0, "runAsUser: 0"),
        ("containers.0.securityContext.runAsNonRoot", False, "runAsNonRoot"),
        ("containers.0.securityContext.procMount", "Unmasked", "procMount"),
        ("containers.0.securityContext.capabilities", {}, "drop ALL"),
        ("containers.0.securityContext.capabilities.add", ["NET_RAW"], "NET_RAW"),
        ("containers.0.ports", [{"containerPort": 80, "hostPort": 80}], "hostPort"),
        ("containers.0.livenessProbe", {"httpGet": {"host": "a", "port": 1}}, "another host"),
        ("initContainers", [{"name": "first"}], "first: allowPrivilegeEscalation"),
    ],
)
def test_every_fault_is_found(path: str, value: Any, said: str) -> None:
    assert any(said in one for one in violations(changed(path, value)))
