"""A configuration that cannot be used changes nothing, and the log says why."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.api.conftest import SESSION, Workers, base_settings, client_of
from tests.gateway_process import Served, merged, served
from tests.keys import write_key_file
from tests.reloads import reloaded

pytestmark = pytest.mark.asyncio(loop_scope="session")

SECRET = "sk-never-in-a-log"
KEY = "sk-alice"

Change = Callable[[dict[str, Any]], dict[str, Any] | str]


def put(**changes: Any) -> Change:
    return lambda settings: merged(settings, changes)


def replaced(**keys: Any) -> Change:
    return lambda settings: {**settings, **keys}


def put_in_tier(**changes: Any) -> Change:
    return lambda settings: {
        **settings,
        "tiers": [{**settings["tiers"][0], **changes}, settings["tiers"][1]],
    }


WRONG: dict[str, tuple[Change, str]] = {
    "no YAML": (lambda _: "tiers: [", "not valid YAML: line 1"),
    "empty": (lambda _: "", "must be a mapping"),
    "unknown key": (put(limts={}), "limts: unknown key"),
    "unknown key below": (put(limits={"max_cals": 1}), "limits.max_cals: unknown key"),
    "wrong value": (put(limits={"max_calls": 0}), "limits.max_calls: "),
    "no tiers": (put(tiers=[]), "tiers: "),
    "url of a worker": (put_in_tier(workers=[{"url": "nowhere"}]), "tiers.0.workers.0.url: "),
    "twice the name": (put_in_tier(name="large"), "tiers: large names more than one"),
    "strategy unknown": (
        replaced(policy={"kind": "static", "tier": "nope"}),
        "policy.tier: no tier is named 'nope'",
    ),
    "no profile": (put(profile="/nowhere/profile.json"), "/nowhere/profile.json"),
    "profile of others": (replaced(policy={"kind": "compute_optimal"}), "needs a profile"),
    "tier of a key gone": (put_in_tier(name="tiny"), "auth.keys_file: "),
    "port": (put(server={"port": 1}), "server.port: cannot change without a restart"),
    "host": (put(server={"host": "127.0.0.2"}), "server.host: cannot change"),
    "cache": (put(cache={"kind": "memory", "ttl_s": 5}), "cache.ttl_s: cannot change"),
    "kind of cache": (put(cache={"kind": "off"}), "cache: cannot change"),
    "redis": (put(redis={"url": f"redis://:{SECRET}@127.0.0.1:1/0"}), "redis: cannot change"),
    "feedback": (put(feedback={"kind": "memory", "ttl_s": 5}), "feedback.ttl_s: cannot change"),
    "responses": (put(responses={"ttl_s": 5}), "responses.ttl_s: cannot change"),
    "sandbox": (
        put(sandbox={"kind": "http", "url": "http://127.0.0.1:1"}),
        "sandbox: cannot change",
    ),
    "auth": (put(auth=None), "auth: cannot change"),
    "engine": (
        put_in_tier(workers=[], engine={"kind": "llamacpp", "gguf": "x.gguf"}),
        "tiers.0.engine: cannot change",
    ),
    "two at once": (
        put(server={"port": 1}, responses={"ttl_s": 5}),
        "server.port, responses.ttl_s: cannot change",
    ),
}


@pytest_asyncio.fixture(**SESSION)
async def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("refusals")


@pytest_asyncio.fixture(**SESSION)
async def good(fake_workers: Workers, folder: Path) -> dict[str, Any]:
    path = write_key_file(folder / "keys.yaml", {KEY: {"tenant": "t", "tiers": ["small"]}})
    settings = base_settings(fake_workers, auth={"keys_file": str(path)})
    small, large = settings["tiers"]
    worker = {**small["workers"][0], "api_key": SECRET}
    return {**settings, "tiers": [{**small, "workers": [worker]}, large]}


@pytest_asyncio.fixture(**SESSION)
async def gateway(good: dict[str, Any], folder: Path) -> AsyncIterator[Served]:
    with served(folder, good) as running:
        yield running


async def answers(gateway: Served, http: httpx.AsyncClient) -> None:
    """Hold a gateway to answer by its first configuration."""
    client = client_of(gateway.url, http)
    answer = await client.chat(headers={"authorization": f"Bearer {KEY}"})
    assert answer.status_code == 200
    assert answer.headers["x-entroute-tier"] == "small"


async def refusals(gateway: Served, http: httpx.AsyncClient) -> float:
    client = client_of(gateway.url, http)
    return await client.sample("entroute_reloads_total", result="refused")


@pytest.mark.parametrize("case", WRONG)
async def test_what_is_wrong_changes_nothing_and_is_said(
    workers: Workers, gateway: Served, good: dict[str, Any], http: httpx.AsyncClient, case: str
):
    change, why = WRONG[case]
    before = await refusals(gateway, http)
    said = await reloaded(gateway, change(good))
    assert said.startswith("reload refused, nothing has changed: ")
    assert why in said
    await answers(gateway, http)
    assert await refusals(gateway, http) == before + 1
    assert SECRET not in gateway.log.read_text()


async def test_every_wrong_key_is_said_in_one_line(
    workers: Workers, gateway: Served, good: dict[str, Any], http: httpx.AsyncClient
):
    wrong = put(limits={"max_calls": 0, "deadline_s": -1}, health={"interval": 5})(good)
    said = await reloaded(gateway, wrong)
    for path in ("limits.max_calls", "limits.deadline_s", "health.interval"):
        assert f"{path}: " in said
    await answers(gateway, http)


async def test_a_missing_file_changes_nothing(
    workers: Workers, gateway: Served, good: dict[str, Any], http: httpx.AsyncClient, folder: Path
):
    (folder / "gateway.yaml").unlink()
    said = await reloaded(gateway)
    assert said.startswith("reload refused, nothing has changed: ")
    assert "gateway.yaml: No such file" in said
    await answers(gateway, http)
    assert await reloaded(gateway, good) == "configuration reloaded: nothing has changed"


async def test_a_wrong_key_file_changes_nothing(
    workers: Workers, gateway: Served, good: dict[str, Any], http: httpx.AsyncClient, folder: Path
):
    path = folder / "keys.yaml"
    text = path.read_text()
    path.write_text("keys: [{name: bob}]")
    said = await reloaded(gateway, put(limits={"max_calls": 3})(good))
    assert said.startswith("reload refused, nothing has changed: auth.keys_file: ")
    await answers(gateway, http)
    path.write_text(text)
    assert await reloaded(gateway) == "configuration reloaded: limits"
    assert await reloaded(gateway, good) == "configuration reloaded: limits"
