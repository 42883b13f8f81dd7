"""Tenants never share a worker's prefix cache, whatever makes the call."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import OPEN, PROBED_MIDDLE_UNSURE, Client, Serve, Workers
from tests.keys import write_key_file

pytestmark = pytest.mark.asyncio(loop_scope="session")

KEYS: dict[str, dict[str, Any]] = {
    "a-key": {"tenant": "acme"},
    "a-other-key": {"tenant": "acme"},
    "b-key": {"tenant": "bolt"},
}
SECRET = "hush, this is a secret"
JUDGED = {"strategy": "best_of_n", "verifier": {"kind": "judge", "tier": "large"}}


def auth(folder: Path, **facts: str) -> dict[str, Any]:
    return {"keys_file": str(write_key_file(folder / "keys.yaml", KEYS)), **facts}


async def salts(workers: Workers) -> set[str | None]:
    """Return the salts of all calls received, and forget them."""
    found = {
        body.get("cache_salt") for tier in ("small", "large") for body in await workers.bodies(tier)
    }
    await workers.small.forget()
    await workers.large.forget()
    return found


async def salts_of(
    gateway: Client, workers: Workers, key: str, text: str = "Hi", **fields: Any
) -> set[str | None]:
    """Ask once with a key; return the salts that the workers got."""
    headers = {"authorization": f"Bearer {key}"}
    response = await gateway.chat(text, headers=headers, **fields)
    assert response.status_code == 200, response.text
    return await salts(workers)


async def test_a_tenant_s_calls_carry_its_salt(serve: Serve, workers: Workers, tmp_path: Path):
    gateway = await serve(auth=auth(tmp_path))
    one, same, other = [
        await salts_of(gateway, workers, key) for key in ("a-key", "a-other-key", "b-key")
    ]
    assert one == same != other
    assert len(one) == len(other) == 1
    assert None not in one | other


async def test_every_gateway_of_one_key_makes_the_same_salt(
    serve: Serve, workers: Workers, tmp_path: Path
):
    keyed = {**auth(tmp_path), "cache_salt_key": SECRET}
    gateways = [await serve(auth=keyed), await serve(auth=keyed), await serve(auth=auth(tmp_path))]
    first, second, unkeyed = [await salts_of(one, workers, "a-key") for one in gateways]
    assert first == second != unkeyed


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "auto"},  # a probe, then a cascade that moves up
        {"model": "auto", "stream": True},
        {"model": "small", "entroute": {"strategy": "self_consistency"}},
        {"model": "auto", "entroute": JUDGED},
        {"model": "auto", "n": 2, "entroute": {"strategy": "single"}},
    ],
)
async def test_probes_samples_and_judges_carry_it_too(
    serve: Serve, workers: Workers, tmp_path: Path, fields: dict[str, Any]
):
    gateway = await serve(auth=auth(tmp_path))
    plain = await salts_of(gateway, workers, "a-key")
    await workers.small.script(certainty=PROBED_MIDDLE_UNSURE, answer="The answer is 7.")
    await workers.large.script(answer="Score: 8")
    assert await salts_of(gateway, workers, "a-key", OPEN, **fields) == plain


async def test_text_completions_and_embeddings_carry_it(
    serve: Serve, workers: Workers, tmp_path: Path
):
    tier = {"name": "mini", "model": "qwen-large", "workers": [{"url": f"{workers.large.url}/v1"}]}
    settings: dict[str, Any] = {"auth": auth(tmp_path), "embeddings": [tier]}
    small = {"name": "small", "model": "qwen-small"}
    small["workers"] = [{"url": f"{workers.small.url}/v1"}]  # type: ignore[assignment]
    gateway = await serve(tiers=[small], **settings)
    headers = {"authorization": "Bearer a-key"}
    plain = await salts_of(gateway, workers, "a-key")
    for path, body in (
        ("completions", {"model": "small", "prompt": "x"}),
        ("embeddings", {"model": "mini", "input": "x"}),
    ):
        assert (await gateway.post(path, body, headers)).status_code == 200
        assert await salts(workers) == plain


async def test_without_keys_there_is_no_salt(gateway: Client, workers: Workers):
    await gateway.chat()
    assert await salts(workers) == {None}


async def test_a_client_s_own_salt_is_combined_where_it_is_allowed(
    serve: Serve, workers: Workers, tmp_path: Path
):
    gateway = await serve(auth=auth(tmp_path), allow_fields=["cache_salt"])
    theirs = await salts_of(gateway, workers, "b-key")
    ways: list[dict[str, Any]] = [{}, {"cache_salt": theirs.copy().pop()}]
    seen = [
        await salts_of(gateway, workers, key, **fields)
        for key, fields in itertools.product(("a-key", "b-key"), ways)
    ]
    assert len(set.union(*seen)) == 4
    assert seen[2] == theirs


async def test_no_salt_is_told_or_logged(
    serve: Serve, workers: Workers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    gateway = await serve(auth={**auth(tmp_path), "cache_salt_key": SECRET})
    (salt,) = await salts_of(gateway, workers, "a-key")
    assert salt is not None
    headers = {"authorization": "Bearer a-key"}
    await workers.small.script(failure={"kind": "status", "status": 500})
    failed = await gateway.chat(headers=headers)
    metrics = await gateway.get("/metrics")
    out = capsys.readouterr()
    for text in (failed.text, str(failed.headers), metrics.text, out.out, out.err):
        assert salt not in text
        assert SECRET not in text
