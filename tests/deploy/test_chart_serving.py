"""What the chart writes is served: by a gateway, by Redis, and asked by `helm test`."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import yaml

from entroute.embedded.engine import free_port
from loadtest.spawn import fake_worker
from tests.deploy.chart import named, of_kind, rendered
from tests.deploy.chart_cases import KEPT_REDIS, MINIMAL, OWN, but
from tests.deploy.chart_walk import containers
from tests.deploy.test_chart_config import environment
from tests.deploy.tools import Tools
from tests.gateway_process import child_environment, command, served
from tests.redis_server import REDIS_8

pytestmark = pytest.mark.deploy

QUESTION = {"model": "auto", "messages": [{"role": "user", "content": "What is 2 + 2?"}]}
WITHIN_S = 60.0
HERE = {"ENTROUTE_SERVER__PORT": "0", "ENTROUTE_SERVER__DRAIN_DELAY_S": "0"}
"""A free port, and nobody to wait for at the end."""


def parts(objects: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the gateway's rendered configuration and environment."""
    name = "entroute"
    config = yaml.safe_load(named(objects, "ConfigMap", name)["data"]["gateway.yaml"])
    [one] = containers(named(objects, "Deployment", name)["spec"]["template"])
    return config, environment(one.get("env", []))


async def test_a_gateway_of_the_chart_s_configuration_answers(tools: Tools, tmp_path: Path) -> None:
    config, variables = parts(rendered(tools.helm4, {**OWN, "embeddings": {}}))
    async with fake_worker(model=["qwen-small", "qwen-middle", "qwen-large"]) as worker:
        host, _, port = worker.url.removeprefix("http://").partition(":")
        # Only where things are is changed: the port to listen on, and the workers' addresses.
        elsewhere = {
            **variables,
            **HERE,
            "ENTROUTE_TIERS__0__WORKERS__0__URL": f"{worker.url}/v1",
            **{
                f"ENTROUTE_TIERS__{place}__DISCOVER__{key}": value
                for place in (1, 2)
                for key, value in (("HOST", host), ("PORT", port))
            },
        }
        await asyncio.to_thread(_asked, tmp_path, config, elsewhere)
        received = await worker.requests()
    keys = {request["headers"].get("authorization") for request in received}
    assert keys == {None, "Bearer a-secret-of-ENTROUTE_TIERS__2__DISCOVER__API_KEY"}


def _asked(folder: Path, config: Mapping[str, Any], variables: Mapping[str, str]) -> None:
    with served(folder, config, variables, within_s=WITHIN_S) as gateway:
        url = gateway.url.replace("0.0.0.0", "127.0.0.1")
        with httpx.Client(base_url=url, timeout=WITHIN_S) as client:
            for model in ("auto", "small", "middle", "large"):
                answer = client.post("/v1/chat/completions", json={**QUESTION, "model": model})
                assert answer.status_code == httpx.codes.OK, answer.text
                assert answer.json()["choices"][0]["message"]["content"]


async def test_helm_s_test_asks_what_a_user_would(tools: Tools, tmp_path: Path) -> None:
    objects = rendered(tools.helm3, MINIMAL)
    config, variables = parts(objects)
    async with fake_worker(model="qwen-small") as worker:
        told = {
            **variables,
            **HERE,
            "ENTROUTE_TIERS__0__WORKERS__0__URL": f"{worker.url}/v1",
        }
        await asyncio.to_thread(_tested, tmp_path, objects, config, told)


def _tested(
    folder: Path, objects: list[dict[str, Any]], config: Mapping[str, Any], told: Mapping[str, str]
) -> None:
    [hook] = of_kind(objects, "Pod")
    [container] = containers(hook)
    asked = environment(container["env"])
    assert asked["GATEWAY"] == "http://entroute:80"
    with served(folder, config, told, within_s=WITHIN_S) as gateway:
        there = {**asked, "GATEWAY": gateway.url.replace("0.0.0.0", "127.0.0.1")}
        for changes, code, said in (
            ({}, 0, "is ready"),
            ({"TIERS": "small,huge"}, 1, "no tier is called huge"),
            ({"NEEDS_KEY": "yes"}, 1, "answered without a key"),
        ):
            done = _run(container, {**there, **changes})
            assert (done.returncode, said in done.stdout) == (code, True), done.stdout + done.stderr


async def test_helm_s_test_takes_a_shut_door_for_a_shut_door(tools: Tools, tmp_path: Path) -> None:
    keys = but({"auth": {"existingSecret": "keys", "allowUnauthenticated": False}})
    objects = rendered(tools.helm3, keys)
    config, variables = parts(objects)
    file = tmp_path / "keys.yaml"
    secret = await asyncio.to_thread(_made_key, file)
    async with fake_worker(model="qwen-small") as worker:
        told = {
            **variables,
            **HERE,
            "ENTROUTE_AUTH__KEYS_FILE": str(file),
            "ENTROUTE_TIERS__0__WORKERS__0__URL": f"{worker.url}/v1",
        }
        await asyncio.to_thread(_shut, tmp_path, objects, (config, told), secret)


def _made_key(file: Path) -> str:
    """Make a file of one API key; return the key."""
    made = subprocess.run(
        command(["keys", "create", "--file", str(file), "--name", "test"]),
        env=child_environment({}),
        capture_output=True,
        text=True,
        check=True,
    )
    return next(word for word in made.stdout.split() if len(word) > 30)


def _shut(
    folder: Path,
    objects: list[dict[str, Any]],
    of_gateway: tuple[Mapping[str, Any], Mapping[str, str]],
    secret: str,
) -> None:
    [hook] = of_kind(objects, "Pod")
    [container] = containers(hook)
    with served(folder, *of_gateway, within_s=WITHIN_S) as gateway:
        there = {
            **environment(container["env"]),
            "GATEWAY": gateway.url.replace("0.0.0.0", "127.0.0.1"),
        }
        for changes, code in (({}, 0), ({"API_KEY": secret}, 0), ({"API_KEY": "wrong"}, 1)):
            done = _run(container, {**there, **changes})
            assert done.returncode == code, done.stdout + done.stderr


def _run(
    container: Mapping[str, Any], variables: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    assert container["command"] == ["python"]
    return subprocess.run(
        [sys.executable, *container["args"]],
        env=dict(variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
    )


def test_the_bundled_redis_starts_asks_for_its_password_and_keeps(
    tools: Tools, tmp_path: Path
) -> None:
    objects = rendered(tools.helm3, KEPT_REDIS)
    for _ in range(2):
        with _bundled(objects, tmp_path) as (port, password):
            url = f"redis://:{password}@127.0.0.1:{port}/0"
            with redis.Redis.from_url(url) as client:
                assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "volatile-lru"
                assert client.config_get("maxmemory")["maxmemory"] == str(256 * 1024 * 1024)
                kept = client.incr("kept")
            with (
                redis.Redis(port=port) as stranger,
                pytest.raises(redis.exceptions.AuthenticationError),
            ):
                stranger.ping()
    assert kept == 2


@contextmanager
def _bundled(objects: list[dict[str, Any]], folder: Path) -> Iterator[tuple[int, str]]:
    """Run Redis as the chart does, on another port and in another folder."""
    config = folder / "redis.conf"
    text = named(objects, "ConfigMap", "entroute-redis")["data"]["redis.conf"]
    config.write_text(text, encoding="utf-8")
    [one] = containers(named(objects, "StatefulSet", "entroute-redis")["spec"]["template"])
    assert one["command"][:2] == ["redis-server", "/etc/redis/redis.conf"]
    variables = environment(one["env"])
    words = [word.replace("/data", str(folder)) for word in one["command"][2:]]
    for name, value in variables.items():
        words = [word.replace(f"$({name})", value) for word in words]
    port = free_port()
    words = [REDIS_8, str(config), *words, "--port", str(port)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    try:
        _wait(port)
        yield port, variables["REDISCLI_AUTH"]
    finally:
        process.terminate()
        process.wait(30)


def _wait(port: int) -> None:
    """Wait until Redis takes connections."""
    give_up = time.monotonic() + WITHIN_S
    while time.monotonic() < give_up:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nobody listens on {port}")
