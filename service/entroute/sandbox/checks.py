"""Sees for itself, before the first program, that a sandbox isolates on this very machine."""

import json
import os
import platform
from pathlib import Path

from entroute.errors import ConfigurationError, SandboxUnavailable
from entroute.protocols import Clock
from entroute.sandbox.child import Child, Job
from entroute.sandbox.command import ROOT_ENTRIES
from entroute.sandbox.seccomp import MACHINES
from entroute.sandbox.spawning import Spawner

_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
_ELSEWHERE = "or run the sandbox on a machine of its own and set sandbox.kind to http"
_ALLOW = (
    "allow unprivileged user namespaces (user.max_user_namespaces above 0, where they exist "
    "kernel.unprivileged_userns_clone=1 and kernel.apparmor_restrict_unprivileged_userns=0, and "
    "in a container a seccomp profile that permits unshare and mount)"
)
_PROBE = """
import json, os, socket, sys

def refused(call, *arguments):
    try:
        call(*arguments)
    except OSError:
        return True
    return False

print(json.dumps({
    "root": os.listdir("/"),
    "host": [path for path in {paths!r} if os.path.exists(path)],
    "environment": sorted(os.environ),
    "uid": os.getuid(),
    "version": list(sys.version_info[:3]),
    "refused": [refused(socket.socket), refused(os.fork), refused(open, "/file", "w")],
}))
"""


async def check_isolation(spawner: Spawner, clock: Clock) -> None:
    """Start one sandbox and look, from outside and from inside.

    Raises:
        ConfigurationError: It did not start, or something of the host shows; the message says what.
    """
    if platform.machine() not in MACHINES:
        known = ", ".join(MACHINES)
        raise ConfigurationError(f"sandbox: there is a filter for {known} only; {_ELSEWHERE}")
    try:
        child = await spawner.spawn()
    except SandboxUnavailable as error:
        raise ConfigurationError(
            f"sandbox: {spawner.bwrap} could not start a sandbox here ({error}); {_ALLOW}, "
            f"{_ELSEWHERE}"
        ) from error
    try:
        wrong = [*_shared_namespaces(child), *await _visible(child, spawner, clock)]
    finally:
        await child.gone()
    if wrong:
        raise ConfigurationError(
            f"sandbox: programs would not be isolated here: {'; '.join(wrong)}; use bubblewrap 0.5 "
            f"or later and {_ALLOW}, {_ELSEWHERE}"
        )


def _shared_namespaces(child: Child) -> list[str]:
    """Return what the sandbox shares with this process; its own network has no way out but lo."""
    ours = {name: Path(f"/proc/self/ns/{name}").stat().st_ino for name in _NAMESPACES}
    return [
        f"the {name} namespace is the host's"
        for name in _NAMESPACES
        if child.namespaces.get(f"{name}-namespace", ours[name]) == ours[name]
    ]


async def _visible(child: Child, spawner: Spawner, clock: Clock) -> list[str]:
    home = os.environ.get("HOME", "/root")  # a container's user may have neither
    paths = ["/proc/self", "/sys", "/etc/passwd", "/home", home, str(Path.cwd())]
    paths = [path for path in paths if path not in ("/", "/tmp")]  # noqa: S108
    source = _PROBE.replace("{paths!r}", repr(paths))
    run = await child.execute(Job(source, "", spawner.start_s), spawner.limits, clock)
    if not run.ok:
        return [f"the first program failed ({run.error})"]
    seen = json.loads(run.stdout)
    loader = spawner.interpreter.loader
    expected = ROOT_ENTRIES | ({loader.parts[1]} if loader is not None else set())
    findings = {
        f"the root folder holds {sorted(seen['root'])}": set(seen["root"]) != expected,
        f"files of the host show: {seen['host']}": bool(seen["host"]),
        f"the environment holds {seen['environment']}": not set(seen["environment"])
        <= _ENVIRONMENT,
        "the program is root": seen["uid"] == 0,
        "a socket, a process or a file outside the work folder can be made": not all(
            seen["refused"]
        ),
    }
    return [finding for finding, found in findings.items() if found]


_ENVIRONMENT = {"LC_CTYPE", "LD_LIBRARY_PATH", "PWD"}
"""What bwrap and Python set themselves."""
