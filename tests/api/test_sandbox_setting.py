"""The sandbox as operators switch it on: here, or as `entroute sandbox` somewhere else."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from pydantic import ValidationError

from entroute.embedded.engine import free_port
from entroute.errors import ConfigurationError
from entroute.loading import load
from entroute.sandbox.limits import MIB
from entroute.settings import Settings
from tests.api.conftest import Client, Serve, Workers, base_settings
from tests.api.ways import BUBBLEWRAP, CODE, FUNCTION, WAYS, Way, asked, scripted
from tests.gateway_process import child_environment, command, served, two_tiers

pytestmark = pytest.mark.asyncio(loop_scope="session")

RUNNING = tuple(way for way in WAYS if way.sandboxed)
TESTS = {"kind": "tests", "tests": ["assert double(2) == 4"]}
JUDGED = Way("best_of_n", FUNCTION, CODE, options={"verifier": TESTS})
PROCESS_S = 30.0
MEMORY_MIB = 600 + os.getpid() % 100
"""An unusual limit: it stands in the command lines of this run's sandboxes and of no others."""


def sandbox_pids() -> list[int]:
    """Return the pids of this run's sandboxes that carry the unusual limit."""
    mark = f'"RLIMIT_AS": {MEMORY_MIB * MIB}'.encode()
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and mark in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


async def kill_for(seconds: float) -> int:
    """Kill this run's sandboxes as they appear, for so long; return how many died."""
    end, killed = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for pid in sandbox_pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
        await asyncio.sleep(0.005)
    return killed


@contextmanager
def sandbox_server(folder: Path, *arguments: str) -> Iterator[str]:
    """Run `entroute sandbox` on a free port and yield its address once it can run programs."""
    port, log = free_port(), folder / "sandbox.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command(["sandbox", "--port", str(port), *arguments]),
            env=child_environment({}),
            stdout=out,
            stderr=out,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_healthy(url, process, log)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PROCESS_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_healthy(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PROCESS_S
    with httpx.Client(trust_env=False) as client:
        while time.monotonic() < end and process.poll() is None:
            with contextlib.suppress(httpx.HTTPError):
                if client.get(f"{url}/healthz").status_code == httpx.codes.OK:
                    return
            time.sleep(0.02)
    raise RuntimeError(f"entroute sandbox is not healthy; its log:\n{log.read_text()[-3000:]}")


def sandbox_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `entroute sandbox`, which is to fail."""
    return subprocess.run(
        command(["sandbox", *arguments]),
        env=child_environment({}),
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        check=False,
    )


async def shown_by(gateway: Client, way: Way) -> dict[str, Any]:
    """Ask a way's request, which must be answered, and return the evidence."""
    response = await asked(gateway, way)
    assert response.status_code == httpx.codes.OK, response.text
    shown: dict[str, Any] = response.json()["entroute"]
    return shown


@pytest.mark.parametrize("way", [*RUNNING, JUDGED], ids=lambda way: way.kind)
async def test_a_sandbox_that_is_killed_costs_quality_not_the_answer(
    serve: Serve, workers: Workers, way: Way
) -> None:
    await scripted(workers)
    gateway = await serve(sandbox={**BUBBLEWRAP, "memory_mib": MEMORY_MIB})
    assert sandbox_pids()
    killing = asyncio.create_task(kill_for(0.8))
    shown = await shown_by(gateway, way)
    assert await killing > 0
    assert "sandbox" in shown["degraded"] or shown["stop_reason"] == "exhausted", shown
    # It starts new ones by itself once nobody kills them.
    await asyncio.sleep(0.2)
    again = await shown_by(gateway, way)
    assert again["degraded"] == []
    assert again["stop_reason"] in {"settled", "verified"}


@pytest.mark.parametrize("way", [*RUNNING, JUDGED], ids=lambda way: way.kind)
async def test_a_sandbox_server_that_has_gone_is_named_and_the_answer_comes(
    serve: Serve, workers: Workers, tmp_path: Path, way: Way
) -> None:
    await scripted(workers)
    with sandbox_server(tmp_path) as url:
        forgetful = {"kind": "memory", "resume": False}  # a kept result needs no sandbox
        gateway = await serve(sandbox={"kind": "http", "url": url}, cache=forgetful)
        before = await shown_by(gateway, way)
        assert before["degraded"] == []
        assert before["stop_reason"] in {"settled", "verified"}
    shown = await shown_by(gateway, way)
    assert shown["degraded"][0] == "sandbox"
    assert shown["stop_reason"] != "verified"
    assert url.removeprefix("http://") not in json.dumps(shown)


async def test_a_gateway_that_cannot_reach_its_sandbox_does_not_start(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    settings = {
        **two_tiers("http://127.0.0.1:9", "http://127.0.0.1:9"),
        "sandbox": {"kind": "http", "url": url},
    }
    with pytest.raises(RuntimeError) as failed, served(tmp_path, settings):
        pass
    _, *lines = str(failed.value).split("\n")
    (message,) = filter(None, lines)
    assert message.startswith(f"entroute: sandbox.url: {url} cannot be reached")
    assert "start `entroute sandbox` there" in message


async def test_a_key_is_asked_for_and_sent(serve: Serve, workers: Workers, tmp_path: Path) -> None:
    await scripted(workers)
    key = tmp_path / "key"
    key.write_text("open-sesame\n", encoding="utf-8")
    with sandbox_server(tmp_path, "--key-file", str(key)) as url:
        async with httpx.AsyncClient(trust_env=False) as client:
            refused = await client.post(f"{url}/run", json={"source": "print(1)"})
        assert refused.status_code == 401
        gateway = await serve(sandbox={"kind": "http", "url": url, "api_key": "open-sesame"})
        assert (await shown_by(gateway, RUNNING[0]))["degraded"] == []


async def test_a_file_of_settings_is_used(tmp_path: Path) -> None:
    config = tmp_path / "sandbox.yaml"
    config.write_text("output_kib: 32\nwarm: 1\n", encoding="utf-8")
    with sandbox_server(tmp_path, "--config", str(config)) as url:
        async with httpx.AsyncClient(trust_env=False) as client:
            source = {"source": "print('x' * 50_000)"}
            ran = (await client.post(f"{url}/run", json=source, timeout=20)).json()
    assert len(ran["stdout"]) <= 32 * 1024


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
async def test_other_machines_are_let_in_only_with_a_key(host: str) -> None:
    done = sandbox_command("--host", host, "--port", "0")
    assert done.returncode == 2
    assert "--key-file" in done.stderr
    assert host in done.stderr
    assert "Traceback" not in done.stderr


WRONG_FILES = {
    "memroy_mib: 3\n": "memroy_mib",
    "workers: 0\n": "workers",
    "workers: [\n": "not valid YAML: line 2",
    "- 1\n": "mapping",
    "kind: http\n": "kind: Input should be 'bubblewrap'",
}


@pytest.mark.parametrize("text", WRONG_FILES)
async def test_a_wrong_file_of_settings_is_named(tmp_path: Path, text: str) -> None:
    config = tmp_path / "sandbox.yaml"
    config.write_text(text, encoding="utf-8")
    done = sandbox_command("--port", "0", "--config", str(config))
    assert done.returncode == 2
    assert str(config) in done.stderr
    assert WRONG_FILES[text] in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("option", ["--config", "--key-file"])
async def test_a_file_that_is_not_there_is_named(tmp_path: Path, option: str) -> None:
    missing = str(tmp_path / "missing")
    done = sandbox_command("--port", "0", option, missing)
    assert done.returncode == 2
    assert missing in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_sandbox_that_cannot_isolate_is_one_message(tmp_path: Path) -> None:
    config = tmp_path / "sandbox.yaml"
    config.write_text("bwrap: /nowhere/bwrap\n", encoding="utf-8")
    done = sandbox_command("--port", "0", "--config", str(config))
    assert done.returncode == 2
    assert done.stderr.startswith("entroute: sandbox.bwrap: /nowhere/bwrap cannot be run")
    assert len(done.stderr.splitlines()) == 1


async def test_an_empty_key_opens_nothing(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("\n", encoding="utf-8")
    done = sandbox_command("--port", "0", "--key-file", str(key))
    assert done.returncode == 2
    assert str(key) in done.stderr


async def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = sandbox_command("--port", str(port))
    assert done.returncode != 0
    assert str(port) in done.stderr
    assert "Traceback" not in done.stderr


def described(folder: Path, changes: Mapping[str, Any]) -> str:
    """Return what is said of settings that are wrong."""
    config = folder / "gateway.yaml"
    base = two_tiers("http://127.0.0.1:9", "http://127.0.0.1:9")
    config.write_text(yaml.safe_dump({**base, **changes}), encoding="utf-8")
    with pytest.raises(ConfigurationError) as refused:
        load(config, {})
    return str(refused.value)


REWARD = {"name": "gold", "url": "http://127.0.0.1:9/score"}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"sandbox": {"kind": "docker"}}, "sandbox: "),
    ({"sandbox": {}}, "sandbox: "),
    ({"sandbox": {"kind": "bubblewrap", "warn": 1}}, "sandbox.warn: unknown key"),
    ({"sandbox": {"kind": "bubblewrap", "workers": 0}}, "sandbox.workers: "),
    ({"sandbox": {"kind": "http"}}, "sandbox.url: "),
    ({"sandbox": {"kind": "http", "url": "box:1"}}, "sandbox.url: must"),
    ({"rewards": [{**REWARD, "url": "gold"}]}, "rewards.0.url: "),
    ({"rewards": [REWARD, {**REWARD, "name": "a b"}]}, "rewards.1.name: "),
    ({"rewards": [{**REWARD, "timeout": 1}]}, "rewards.0.timeout: unknown key"),
    ({"rewards": [{**REWARD, "url": "http://127.0.0.1:9/v1"}]}, "rewards.0: url: "),
    ({"rewards": [REWARD, REWARD]}, "rewards: a name is given twice"),
    (
        {"strategies": [{"kind": "cascade", "thresholds": {"smal": 0.5}}]},
        "strategies.0.thresholds: no tier is named 'smal'",
    ),
]


@pytest.mark.parametrize(("changes", "words"), WRONG, ids=str)
async def test_wrong_settings_are_told_by_their_path(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    said = described(tmp_path, changes)
    assert words in said
    assert str(tmp_path / "gateway.yaml") in said


async def test_thresholds_of_tiers_that_are_there_are_taken(fake_workers: Workers) -> None:
    cascade = {"kind": "cascade", "thresholds": {"small": 0.5, "large": 0.1}}
    settings = Settings.model_validate(base_settings(fake_workers, strategies=[cascade]))
    assert settings.all_strategies[1].kind == "cascade"


async def test_a_tier_that_is_missing_is_answered_with_those_there_are(
    fake_workers: Workers,
) -> None:
    cascade = {"kind": "cascade", "thresholds": {"smal": 0.5, "large": 0.1}}
    with pytest.raises(ValidationError, match=r"\['small', 'large'\]"):
        Settings.model_validate(base_settings(fake_workers, strategies=[cascade]))
