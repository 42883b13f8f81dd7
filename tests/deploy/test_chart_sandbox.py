"""The executor runs programs in a container as the chart confines it, and not with less."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from deploy.chart.seccomp import NAMESPACES
from entroute.embedded.engine import free_port
from entroute.errors import ConfigurationError
from entroute.sandbox.command import find_bwrap
from entroute.sandbox.remote import RemoteConfig
from tests.deploy.chart import CHART, named, rendered
from tests.deploy.chart_cases import KEPT_REDIS, but
from tests.deploy.chart_walk import containers
from tests.deploy.tools import Tools
from tests.gateway_process import ROOT, child_environment

pytestmark = pytest.mark.deploy

PROFILE = CHART / "files/sandbox-seccomp.json"
KEY = "a-key-between-two"
START_S = 60.0
TEMPORARY = "/tmp"  # noqa: S108 - of the container
TOLD = f"{TEMPORARY}/told"


@dataclass(frozen=True, slots=True)
class Executor:
    """An executor that was started: where it is to answer, its process and its log."""

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path


def container(folder: Path, command: Sequence[str]) -> list[str]:
    """Return what runs a command as the chart's container does, `folder` at `TOLD`.

    Read-only, no capabilities, no new privileges, the chart's user. It needs root to begin with.
    """
    hidden = (Path(TEMPORARY), Path.home())
    return [
        find_bwrap(None), "--dev-bind", "/", "/", "--remount-ro", "/",
        *(word for path in hidden for word in ("--tmpfs", str(path), *_shown(path))),
        "--ro-bind", str(folder), TOLD, "--chdir", "/",
        "setpriv", "--reuid", "10001", "--regid", "10001", "--clear-groups", "--no-new-privs",
        "--bounding-set=-all", "--inh-caps=-all", *command,
    ]  # fmt: skip


def _shown(hidden: Path) -> Iterator[str]:
    """Yield what shows the interpreter and this project where they lie in a hidden folder."""
    for path in (Path(sys.base_prefix), Path(sys.prefix), ROOT):
        if path.is_relative_to(hidden):
            between = [parent for parent in path.parents if parent.is_relative_to(hidden)]
            for parent in reversed(between[:-1]):
                yield from ("--dir", str(parent))
            yield from ("--ro-bind", str(path), str(path))


@contextmanager
def executor(tools: Tools, folder: Path, profile: str) -> Iterator[Executor]:
    """Run the executor as the chart does, on another port."""
    folder.chmod(0o755)
    # None kept warm: one that is just being started when the executor is killed would outlive it.
    objects = rendered(tools.helm3, but({"sandbox": {"config": {"warm": 0}}}, KEPT_REDIS))
    [one] = containers(named(objects, "Deployment", "entroute-sandbox")["spec"]["template"])
    text = named(objects, "ConfigMap", "entroute-sandbox")["data"]["sandbox.yaml"]
    (folder / "sandbox.yaml").write_text(text, encoding="utf-8")
    (folder / "key").write_text(KEY, encoding="utf-8")
    port, log = str(free_port()), folder / "log"
    places = {"8090": port, "0.0.0.0": "127.0.0.1", "/etc/entroute/key/key": f"{TOLD}/key"}
    places["/etc/entroute/sandbox.yaml"] = f"{TOLD}/sandbox.yaml"
    words = [places.get(word, word) for word in one["args"]]
    confined = [sys.executable, "-m", "tests.deploy.confined", profile]
    command = container(folder, [*confined, sys.executable, "-m", "entroute", *words])
    variables = child_environment({"PYTHONPATH": f"{ROOT / 'service'}:{ROOT}"})
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=variables, stdout=out, stderr=out, start_new_session=True
        )
    try:
        yield Executor(f"http://127.0.0.1:{port}", process, log)
    finally:
        # The first process hands no signal on, so all are told; sandboxes die with the executor.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


async def _started(url: str) -> RemoteConfig:
    """Return the client's settings once the executor ran a program for it."""
    config = RemoteConfig(kind="http", url=url, api_key=SecretStr(KEY))
    async with asyncio.timeout(START_S):
        while True:
            sandbox = config.build()
            try:
                await sandbox.start()
            except ConfigurationError:
                await asyncio.sleep(0.2)
            else:
                return config
            finally:
                await sandbox.close()


def test_these_tests_run_as_root() -> None:
    assert os.getuid() == 0, "run `make deploy-test` as root: a container is made for the executor"


async def test_programs_run_in_a_container_confined_as_the_chart_says(
    tools: Tools, tmp_path: Path
) -> None:
    with executor(tools, tmp_path, str(PROFILE)) as running:
        config = await _started(running.url)
        sandbox = config.build()
        try:
            done = await sandbox.run("import asyncio\nprint(asyncio.run(asyncio.sleep(0, 42)))")
            assert (done.status, done.stdout) == ("ok", "42\n")
            late = await sandbox.run("while True: pass", wall_s=1.0)
            assert late.status == "timeout"
            for source in ("import socket; socket.socket()", "import os; os.fork()"):
                assert (await sandbox.run(source)).status in {"error", "killed"}
        finally:
            await sandbox.close()


@pytest.mark.parametrize("missing", NAMESPACES)
def test_no_call_is_allowed_that_could_be_left_out(
    tools: Tools, tmp_path: Path, missing: str
) -> None:
    narrow = json.loads(PROFILE.read_text(encoding="utf-8"))
    narrow["syscalls"][0]["names"].remove(missing)
    (tmp_path / "narrow.json").write_text(json.dumps(narrow), encoding="utf-8")
    with executor(tools, tmp_path, f"{TOLD}/narrow.json") as running:
        assert running.process.wait(START_S) != 0
    said = running.log.read_text(encoding="utf-8")
    assert "could not start a sandbox here" in said
    assert "seccomp profile" in said


def test_the_profile_allows_no_way_into_the_kernel() -> None:
    [allowed] = json.loads(PROFILE.read_text(encoding="utf-8"))["syscalls"]
    kernel = {"bpf", "ptrace", "setns", "unshare", "keyctl", "add_key", "userfaultfd", "chroot",
              "perf_event_open", "io_uring_setup", "init_module", "finit_module", "kexec_load",
              "open_by_handle_at", "process_vm_readv", "mknod", "mknodat", "reboot", "swapon",
              "fsopen", "move_mount", "open_tree", "mount_setattr"}  # fmt: skip
    assert not kernel & set(allowed["names"])
