"""What one tenant can learn of another."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Serve, Workers
from tests.keys import write_key_file

pytestmark = pytest.mark.asyncio(loop_scope="session")

KEYS: dict[str, dict[str, Any]] = {"a-key": {"tenant": "acme"}, "b-key": {"tenant": "bolt"}}


async def test_equal_prompts_at_the_same_time_are_asked_once_a_tenant(
    serve: Serve, workers: Workers, tmp_path: Path
):
    await workers.small.script(ttft_ms=300)
    gateway = await serve(auth={"keys_file": str(write_key_file(tmp_path / "keys.yaml", KEYS))})
    asks = [
        gateway.chat("The same", temperature=0, headers={"authorization": f"Bearer {key}"})
        for key in ("a-key", "b-key", "a-key", "b-key")
    ]
    assert [answer.status_code for answer in await asyncio.gather(*asks)] == [200] * 4
    assert len(await workers.bodies()) == 2


async def test_what_another_tenant_has_used_is_not_told(
    serve: Serve, workers: Workers, tmp_path: Path
):
    gateway = await serve(auth={"keys_file": str(write_key_file(tmp_path / "keys.yaml", KEYS))})
    ids = {}
    for key in KEYS:
        headers = {"authorization": f"Bearer {key}"}
        assert (await gateway.chat("Hi", headers=headers)).status_code == 200
        ids[key] = (await gateway.get("/v1/usage", headers=headers)).json()["key"]
    foreign = f"/v1/usage?key={ids['b-key']}"
    answer = await gateway.get(foreign, headers={"authorization": "Bearer a-key"})
    assert answer.status_code == 403
    assert "tenant" not in answer.text
