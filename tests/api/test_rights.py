"""A key's tiers and strategies hold on every way to an answer."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.api.conftest import PROBED_MIDDLE_UNSURE, Client, Workers, base_settings, client_of
from tests.api.promises import NUMBER, deciding_gateways, decision_of
from tests.api.ways import BUBBLEWRAP, FUNCTION, RULES, SUM, WAYS, Way, scripted
from tests.gateway_process import serving
from tests.keys import write_key_file

pytestmark = pytest.mark.asyncio(loop_scope="session")

KEYS: dict[str, dict[str, Any]] = {
    "every": {"tenant": "a"},
    "small": {"tenant": "b", "tiers": ["small"]},
    "single": {"tenant": "c", "strategies": ["single"]},
    "nothing": {"tenant": "d", "tiers": [], "strategies": []},
    "other": {"tenant": "b", "tiers": ["large"]},
}
WRONG = {"contains": "double(n)", "answer": "```python\ndef double(n):\n    return 3 * n\n```"}

CLIMBING = (
    Way("cascade"),
    Way("verify_then_escalate", FUNCTION),
    Way("entropy_switch"),
    Way("random_switch"),
    Way("best_of_n", options={"verifier": {"kind": "judge", "tier": "large"}}),
)
"""Ways that ask the large tier of whoever may use it."""

every_way = pytest.mark.parametrize("way", WAYS, ids=[way.kind for way in WAYS])


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded_url(
    fake_workers: Workers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[str]:
    keys = write_key_file(tmp_path_factory.mktemp("keys") / "keys.yaml", KEYS)
    settings = base_settings(
        fake_workers,
        auth={"keys_file": str(keys)},
        sandbox=BUBBLEWRAP,
        strategies=[
            {"kind": "cascade", "window": 32, "smoothing": 16, "threshold": 0.999},
            {"kind": "entropy_switch", "threshold": 0.01, "minimum_run": 1},
            {"kind": "random_switch", "share": 0.5, "run": 1},
        ],
    )
    async with serving(settings) as url:
        yield url


@pytest_asyncio.fixture(loop_scope="session")
async def guarded(guarded_url: str, workers: Workers, http: httpx.AsyncClient) -> Client:
    await scripted(workers, certainty=PROBED_MIDDLE_UNSURE)
    await workers.small.script(rules=[WRONG, *RULES])
    return client_of(guarded_url, http)


async def ask(gateway: Client, way: Way, key: str, *, stream: bool = False) -> httpx.Response:
    return await gateway.chat(
        way.prompt, model=way.model, stream=stream, entroute=way.entroute(), headers=bearer(key)
    )


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("way", CLIMBING, ids=[way.kind for way in CLIMBING])
async def test_what_would_climb_stays_within_the_allowed_tiers(
    guarded: Client, workers: Workers, way: Way, *, stream: bool
):
    assert (await ask(guarded, way, "every", stream=stream)).status_code == 200
    assert await workers.bodies("large")
    await workers.large.forget()
    response = await ask(guarded, way, "small", stream=stream)
    assert response.status_code in {200, 400, 403}, response.text
    assert await workers.bodies("large") == []


@every_way
async def test_no_strategy_reaches_a_tier_that_is_not_allowed(
    guarded: Client, workers: Workers, way: Way
):
    response = await ask(guarded, way, "small")
    assert response.status_code in {200, 400}, response.text
    assert await workers.bodies("large") == []


@every_way
async def test_no_strategy_runs_that_is_not_allowed(guarded: Client, workers: Workers, way: Way):
    response = await ask(guarded, way, "single")
    assert response.status_code == (200 if way.kind == "single" else 403)
    assert bool(await workers.bodies("small")) == (way.kind == "single")


@pytest.mark.parametrize("model", ["auto", "small", "qwen-large"])
@pytest.mark.parametrize("path", ["chat/completions", "completions", "responses"])
async def test_a_key_that_may_use_nothing_gets_nothing(
    guarded: Client, workers: Workers, path: str, model: str
):
    said: dict[str, dict[str, Any]] = {
        "chat/completions": {"messages": [{"role": "user", "content": "Hi"}]},
        "completions": {"prompt": "Hi"},
        "responses": {"input": "Hi"},
    }
    response = await guarded.post(path, {"model": model, **said[path]}, bearer("nothing"))
    assert response.status_code == 403, response.text
    assert response.json()["error"]["type"] == "permission_error"
    assert await workers.bodies("small") + await workers.bodies("large") == []


@pytest.mark.parametrize("path", ["completions", "responses"])
async def test_the_other_paths_deny_a_tier_too(guarded: Client, path: str):
    field = "prompt" if path == "completions" else "input"
    response = await guarded.post(path, {"model": "large", field: "Hi"}, bearer("small"))
    assert response.status_code == 403, response.text
    assert response.json()["error"]["param"] == "model"


async def test_an_answer_that_another_keys_tier_made_is_not_shared(
    guarded: Client, workers: Workers
):
    # One tenant, two keys: the cache knows what each of them may use.
    first = await guarded.chat(SUM, model="auto", temperature=0, headers=bearer("other"))
    assert first.headers["x-entroute-tier"] == "large"
    second = await guarded.chat(SUM, model="auto", temperature=0, headers=bearer("small"))
    assert second.headers["x-entroute-tier"] == "small"


async def test_labels_are_for_the_tenant_that_was_answered(guarded: Client):
    answer = await guarded.chat(SUM, headers=bearer("small"))
    label = {"id": answer.headers["x-request-id"], "right": True}
    assert (await guarded.post("feedback", label, bearer("single"))).status_code == 404
    assert (await guarded.post("feedback", label, bearer("small"))).status_code == 200
    assert (await guarded.post("feedback", label, bearer("unknown"))).status_code == 401


async def test_models_are_none_for_a_key_that_may_use_none(guarded: Client):
    response = await guarded.get("/v1/models", bearer("nothing"))
    assert [model["id"] for model in response.json()["data"]] == ["auto"]


async def test_plans_of_the_profile_obey(workers: Workers, http: httpx.AsyncClient, tmp_path: Path):
    auth = {"keys_file": str(write_key_file(tmp_path / "keys.yaml", KEYS))}
    async with deciding_gateways(workers, http, tmp_path) as decide:
        gateway = await decide(changes={"auth": auth})
        plans = {}
        for key in ("every", "small", "single"):
            answer = await gateway.answer(
                NUMBER, model="auto", entroute={"explain": True}, headers=bearer(key)
            )
            plans[key] = [plan["plan"] for plan in decision_of(answer)["plans"]]
    assert set(plans["every"]) == {"large x1", "small reasc <=3", "small x1"}
    assert set(plans["small"]) == {"small reasc <=3", "small x1"}
    assert set(plans["single"]) == {"large x1", "small x1"}
