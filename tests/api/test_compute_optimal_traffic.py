"""A profile over many requests: labels that contradict it, load that shrinks it, its log lines."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from tests.api.conftest import Client, Workers, client_of
from tests.api.promises import (
    LETTER,
    NUMBER,
    PLANS,
    Decide,
    deciding_gateways,
    decision_of,
    knows,
    plan_of,
    profile_file,
    settings_of,
)
from tests.gateway_process import served, serving
from tests.profiles import MADE, a_plan

pytestmark = pytest.mark.asyncio(loop_scope="session")

EXPLAIN = {"explain": True}
SURE = a_plan("small x1", 0.95, 0.3)
CONTRARY = 120
"""Wrong answers in a row, all promised to be right: far more than the alarm needs."""


@pytest_asyncio.fixture(loop_scope="session")
async def decide(
    workers: Workers, http: httpx.AsyncClient, tmp_path: Path
) -> AsyncIterator[Decide]:
    """Start gateways of a test's own. See `deciding_gateways`."""
    async with deciding_gateways(workers, http, tmp_path) as start:
        yield start


async def label(gateway: Client, *, right: bool) -> dict[str, Any]:
    """Ask under `auto`, say how the answer turned out, and return what became of that."""
    request_id = uuid4().hex
    await gateway.answer(NUMBER, model="auto", headers={"x-request-id": request_id})
    response = await gateway.post("feedback", {"id": request_id, "right": right})
    assert response.status_code == 200, response.text
    receipt: dict[str, Any] = response.json()
    return receipt


async def test_a_label_teaches_the_plan_that_was_chosen(decide: Decide):
    gateway = await decide()
    receipt = await label(gateway, right=False)
    assert receipt["accepted"] is True
    assert receipt["plan"] == "large x1"
    answer = await gateway.answer(NUMBER, model="auto", entroute=EXPLAIN)
    assert decision_of(answer)["predicted_quality"] < 0.7
    assert await gateway.sample("entroute_feedback_labels_total", result="accepted") == 1


async def test_contrary_labels_make_the_profile_stale_and_answers_go_on(decide: Decide):
    gateway = await decide(SURE)
    assert await plan_of(gateway) == SURE.name
    labels = 0
    while labels < CONTRARY and not await gateway.sample("entroute_calibration_drift"):
        await asyncio.gather(*(label(gateway, right=False) for _ in range(10)))
        labels += 10
    assert 10 < labels < CONTRARY
    before = await gateway.sample("entroute_degraded_total", part="profile")
    response = await gateway.chat(NUMBER, model="auto", entroute=EXPLAIN)
    assert response.status_code == 200
    assert response.headers["x-entroute-degraded"] == "profile"
    decision = decision_of(response.json())
    assert decision["basis"] == "fallback"
    assert decision["plan"] is None
    assert decision["predicted_quality"] is None
    assert "stale" in decision["reason"]
    wanted = await gateway.answer(NUMBER, model="auto", entroute={**EXPLAIN, "quality": 0.5})
    assert decision_of(wanted)["quality_unmet"] is True
    assert await gateway.sample("entroute_degraded_total", part="profile") == before + 2


async def test_a_profile_older_than_it_may_be_is_stale(
    workers: Workers, http: httpx.AsyncClient, tmp_path: Path
):
    profile = profile_file(tmp_path, made=MADE.model_copy(update={"at": "2020-01-01"}))
    settings = settings_of(workers, profile, feedback={"max_age_days": 30})
    async with serving(settings) as url:
        response = await client_of(url, http).chat(NUMBER, model="auto", entroute=EXPLAIN)
    assert response.headers["x-entroute-degraded"] == "profile"
    assert "max_age_days" in decision_of(response.json())["reason"]


async def test_audits_draw_plans_that_the_policy_would_not_choose(decide: Decide):
    gateway = await decide(changes={"feedback": {"audit_share": 0.5}})
    assert await plan_of(gateway) == "large x1"  # nobody labels, so nothing is audited
    await label(gateway, right=True)
    plans = await asyncio.gather(*(plan_of(gateway) for _ in range(40)))
    assert {"large x1", "small x1"} <= set(plans)
    assert await gateway.sample("entroute_decisions_total", basis="audit") > 0


async def test_spending_shrinks_under_load_and_grows_back(decide: Decide, workers: Workers):
    gateway = await decide(trade_off=0.2, changes={"policy": {"smoothing_s": 0.2}})
    assert await plan_of(gateway) == "large x1"
    for worker in (workers.small, workers.large):
        await worker.script(ttft_ms=200)

    async def client(_: int) -> list[str | None]:
        return [await plan_of(gateway) for _ in range(4)]

    lines = await asyncio.gather(*map(client, range(50)))
    assert any("large x1" in line for line in lines)  # before the load was seen
    assert [line[-1] for line in lines].count("small x1") > 25
    await asyncio.sleep(1.5)
    assert await plan_of(gateway) == "large x1"


async def test_load_does_not_relax_a_target(decide: Decide, workers: Workers):
    gateway = await decide(trade_off=0.2, changes={"policy": {"smoothing_s": 0.2}})
    for worker in (workers.small, workers.large):
        await worker.script(ttft_ms=200)

    async def client(_: int) -> set[str | None]:
        return {await plan_of(gateway, entroute={"quality": 0.6}) for _ in range(4)}

    assert set().union(*await asyncio.gather(*map(client, range(50)))) == {"large x1"}


@pytest.mark.parametrize("policy", ["compute_optimal", "threshold"])
async def test_no_word_of_a_prompt_is_logged(
    workers: Workers, http: httpx.AsyncClient, tmp_path: Path, policy: str
):
    words = ("xylophones", "harpsichords", "bassoons")
    profile = profile_file(tmp_path, *PLANS, text=knows(*words))
    settings = settings_of(workers, profile, policy={"kind": policy}, server={"log_level": "debug"})
    with served(tmp_path, settings) as running:
        gateway = client_of(running.url, http)
        for text in (f"How many xylophones are 3 rows of 4 {words[1]}?", f"{LETTER} bassoons"):
            answer = await gateway.answer(text, model="auto", entroute=EXPLAIN)
            named = {row["feature"] for row in answer["entroute"]["estimate"]["features"]}
            assert named & set(words)
            assert not any(word in decision_of(answer)["reason"] for word in words)
    log = running.log.read_text()
    assert '"reason"' in log
    assert not any(word in log.lower() for word in words)
