"""Every secret that a gateway can be given, and how to find one in what it says."""

import json
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from entroute.tenants.keys import digest_of
from tests.echoing import Echo
from tests.gateway_process import two_tiers
from tests.redis_server import RedisServer

CLIENT_KEY = "er-0123456789ab-client+key/of=somebody%who_asks"
REVOKED_KEY = "er-ba9876543210-revoked+key/that=was%leaked_once"
PASSWORD = "redis+pass/word=of%the_shop"
WRONG_PASSWORD = "redis+wrong/pass=word%typed_in"
SECRETS = {
    "worker": "wk+small/key=of%a_worker",
    "other worker": "wk+large/key=of%a_worker",
    "embeddings worker": "wk+embed/key=of%a_worker",
    "reward": "rw+key/of=a%reward_model",
    "sandbox": "sb+key/of=the%sandbox_here",
    "salt": "salt+key/of=the%prefix_cache",
}
ALL = (CLIENT_KEY, REVOKED_KEY, PASSWORD, WRONG_PASSWORD, *SECRETS.values())


def forms(secret: str) -> set[str]:
    """Return how a secret may be written."""
    sent = {secret, f"Bearer {secret}"}
    packed = {pack(each.encode()) for each in sent for pack in (b64encode, urlsafe_b64encode)}
    quoted = {quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    escaped = secret.replace("/", "\\/")
    return {secret, escaped, *quoted, *(each.decode().rstrip("=") for each in packed)}


def said_in(text: str) -> list[str]:
    """Return the secrets that a text holds in any form."""
    return [secret for secret in ALL if any(form in text for form in forms(secret))]


def redis_url(server: RedisServer, password: str = PASSWORD) -> str:
    return server.tcp_url.replace("redis://", f"redis://:{quote(password, safe='')}@")


def settings_of(echo: Echo, keys: Path, redis: str) -> dict[str, Any]:
    """Return settings that hold every secret there is."""
    settings = two_tiers(echo.url, echo.url)
    for tier, name in zip(settings["tiers"], ("worker", "other worker"), strict=True):
        tier["workers"][0]["api_key"] = SECRETS[name]
    embedder = {"url": f"{echo.url}/v1", "api_key": SECRETS["embeddings worker"]}
    rewarder = {"url": f"{echo.url}/reward", "api_key": SECRETS["reward"]}
    return {
        **settings,
        "server": {"port": 0, "log_level": "debug"},
        "redis": {"url": redis, "timeout_ms": 1000},
        "cache": {"kind": "redis"},
        "feedback": {"kind": "redis"},
        "embeddings": [{"name": "minilm", "model": "minilm", "workers": [embedder]}],
        "rewards": [{"name": "rm", "format": "plain", **rewarder}],
        "sandbox": {"kind": "http", "url": echo.url, "api_key": SECRETS["sandbox"]},
        "auth": {"keys_file": str(keys), "cache_salt_key": SECRETS["salt"]},
        "health": {"interval_s": 0.2},
        "retries": {"attempts": 2},
        "breaker": {"open_s": 0.1, "max_open_s": 0.2},
    }


def key_file(folder: Path) -> Path:
    path = folder / "keys.yaml"
    entry = {"name": "somebody", "tenant": "shop", "sha256": digest_of(CLIENT_KEY), "admin": True}
    path.write_text(yaml.safe_dump({"keys": [entry]}), encoding="utf-8")
    return path
