"""What `deploy/compose` configures, run without Compose: both gateways, and Redis."""

import asyncio
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import yaml
from redis import ConnectionError as RedisDown
from redis import Redis

from entroute.embedded.engine import free_port
from entroute.loading import load
from loadtest.spawn import ROOT, fake_worker
from tests.gateway_process import child_environment, command, served
from tests.redis_server import REDIS_8, redis_server

CONFIGURATIONS = ROOT / "deploy/compose"


@pytest.mark.parametrize("name", ["gateway.cpu.yaml", "gateway.gpu.yaml"])
def test_a_configuration_is_accepted(name: str) -> None:
    words = command(["check", "--config", str(CONFIGURATIONS / name)])
    done = subprocess.run(
        words, env=child_environment({}), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    tiers = yaml.safe_load(done.stdout)["tiers"]
    assert [tier["name"] for tier in tiers] == ["small", "large"]


def test_the_profile_cpu_serves_the_embedded_default() -> None:
    default, ours = load(None, {}), load(CONFIGURATIONS / "gateway.cpu.yaml", {})
    assert ours.tiers == default.tiers
    assert (ours.difficulty, ours.policy) == (default.difficulty, default.policy)
    assert ours.profile is None


async def test_the_profile_gpu_answers_in_front_of_its_workers(tmp_path: Path) -> None:
    settings = yaml.safe_load((CONFIGURATIONS / "gateway.gpu.yaml").read_text(encoding="utf-8"))
    async with fake_worker(model="qwen-small") as small, fake_worker(model="qwen-large") as large:
        with redis_server(binary=REDIS_8, tcp=True) as redis:
            environment = {
                "ENTROUTE_SERVER__HOST": "127.0.0.1",
                "ENTROUTE_SERVER__PORT": "0",
                "ENTROUTE_REDIS__URL": redis.tcp_url,
            }
            for place, worker in enumerate((small, large)):
                prefix = f"ENTROUTE_TIERS__{place}__DISCOVER"
                environment[f"{prefix}__HOST"] = "127.0.0.1"
                environment[f"{prefix}__PORT"] = str(urlsplit(worker.url).port)
            with served(tmp_path, settings, environment, within_s=60) as gateway:
                key = await asyncio.to_thread(_made_key, tmp_path / "gateway.yaml", environment)
                for tier in ("small", "large"):
                    chat = {"model": tier, "messages": [{"role": "user", "content": "Hello"}]}
                    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as client:
                        url = "/v1/chat/completions"
                        refused = await client.post(url, json=chat, timeout=60)
                        bearer = {"authorization": f"Bearer {key}"}
                        answer = await client.post(url, json=chat, headers=bearer, timeout=60)
                    assert refused.status_code == 401
                    assert answer.status_code == 200, answer.text
                    assert answer.headers["x-entroute-tier"] == tier
                assert len(await small.requests()) == len(await large.requests()) == 1


def test_redis_keeps_keys_and_evicts_only_what_expires(tmp_path: Path) -> None:
    compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text(encoding="utf-8"))
    words = compose["services"]["redis"]["command"]
    assert words[0] == "redis-server"
    port = free_port()
    own = [f"--port {port}", "--bind 127.0.0.1", f"--dir {tmp_path}"]
    process = subprocess.Popen([REDIS_8, *words[1:], *own], stdout=subprocess.DEVNULL)
    try:
        with Redis(port=port) as client:
            _wait(client)
            wanted = {
                "maxmemory": str(512 * 1024 * 1024),
                "maxmemory-policy": "volatile-lru",
                "appendonly": "yes",
                "appendfsync": "everysec",
                "save": "",
            }
            assert client.config_get(*wanted) == wanted
    finally:
        process.terminate()
        process.wait(30)


def _wait(client: Redis) -> None:
    give_up = time.monotonic() + 30
    while True:
        try:
            client.ping()
        except RedisDown:
            assert time.monotonic() < give_up
            time.sleep(0.02)
        else:
            return


def _made_key(config: Path, environment: Mapping[str, str]) -> str:
    words = command(["keys", "create", "--config", str(config), "--name", "me"])
    own = child_environment(environment)
    made = subprocess.run(words, env=own, capture_output=True, text=True, check=True)
    return made.stdout.strip()
