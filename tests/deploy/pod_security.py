"""The rules of Pod Security `restricted`, those of `baseline` included, over a pod's specification.

Source: Kubernetes documentation, "Pod Security Standards" (1.37); rules for Windows left out.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.deploy.objects import Pod

_VOLUMES = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)
_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_wmem",
    }
)
_SELINUX = frozenset(
    {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
)
_HANDLERS = ("livenessProbe", "readinessProbe", "startupProbe")

Context = Mapping[str, Any]


def violations(pod: Pod) -> list[str]:
    """Return what a pod does that `restricted` forbids; empty when it may run."""
    found = [*_of_pod(pod), *_of_volumes(pod.spec)]
    for container in pod.containers + list(pod.spec.get("ephemeralContainers", ())):
        found += [f"{container['name']}: {what}" for what in _of_container(container, pod.spec)]
    return [f"{pod.owner}: {what}" for what in found]


def _of_pod(pod: Pod) -> Iterator[str]:
    context = pod.spec.get("securityContext") or {}
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.spec.get(name):
            yield f"{name}: true"
    for sysctl in context.get("sysctls") or ():
        if sysctl["name"] not in _SYSCTLS:
            yield f"sysctl {sysctl['name']}"
    for key, value in pod.annotations.items():
        told = value == "runtime/default" or value.startswith("localhost/")
        if key.startswith("container.apparmor.security.beta.kubernetes.io/") and not told:
            yield f"{key}: {value}"
    yield from _of_context(context)


def _of_volumes(spec: Context) -> Iterator[str]:
    for volume in spec.get("volumes") or ():
        for kind in volume.keys() - {"name"} - _VOLUMES:
            yield f"volume {volume['name']} is {kind}"


def _of_context(context: Context) -> Iterator[str]:
    """Yield what a security context of pod or container says that it must not."""
    if context.get("runAsUser") == 0:
        yield "runAsUser: 0"
    if context.get("runAsNonRoot") is False:
        yield "runAsNonRoot: false"
    if (context.get("seccompProfile") or {}).get("type") == "Unconfined":
        yield "seccompProfile: Unconfined"
    if (context.get("appArmorProfile") or {}).get("type") == "Unconfined":
        yield "appArmorProfile: Unconfined"
    linux = context.get("seLinuxOptions") or {}
    if linux.get("type", "") not in _SELINUX or linux.get("user") or linux.get("role"):
        yield f"seLinuxOptions: {linux}"
    if (context.get("windowsOptions") or {}).get("hostProcess"):
        yield "hostProcess: true"


def _of_container(container: Context, spec: Context) -> Iterator[str]:
    context = container.get("securityContext") or {}
    shared = spec.get("securityContext") or {}
    yield from _of_context(context)
    if context.get("privileged"):
        yield "privileged: true"
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if not context.get("runAsNonRoot", shared.get("runAsNonRoot")):
        yield "runAsNonRoot is not true"
    profile = context.get("seccompProfile") or shared.get("seccompProfile") or {}
    if profile.get("type") not in {"RuntimeDefault", "Localhost"}:
        yield "seccompProfile is not RuntimeDefault or Localhost"
    if context.get("procMount", "Default") != "Default":
        yield f"procMount: {context['procMount']}"
    yield from _of_capabilities(context.get("capabilities") or {})
    yield from _of_hosts(container)


def _of_capabilities(capabilities: Context) -> Iterator[str]:
    if "ALL" not in (capabilities.get("drop") or ()):
        yield "does not drop ALL capabilities"
    for added in sorted(set(capabilities.get("add") or ()) - {"NET_BIND_SERVICE"}):
        yield f"adds the capability {added}"


def _of_hosts(container: Context) -> Iterator[str]:
    for port in container.get("ports") or ():
        if port.get("hostPort"):
            yield f"hostPort: {port['hostPort']}"
    lifecycle = container.get("lifecycle") or {}
    handlers = [container.get(name) or {} for name in _HANDLERS] + list(lifecycle.values())
    for handler in handlers:
        for kind in ("httpGet", "tcpSocket"):
            if (handler.get(kind) or {}).get("host"):
                yield f"{kind} asks another host"
