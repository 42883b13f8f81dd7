"""What clients cannot exhaust: series of metrics, lines of logs, other clients' turns."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.api.conftest import Client, Workers
from tests.gateway_process import served, two_tiers

pytestmark = pytest.mark.asyncio(loop_scope="session")

ODD = 'x"}\n{"level": "error", "event": "forged"} \x1b[31m\u2028'


async def series(gateway: Client) -> set[tuple[str, frozenset[tuple[str, str]]]]:
    page = (await gateway.get("/metrics")).text
    return {
        (sample.name, frozenset(sample.labels.items()))
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


async def use(gateway: Client, name: str) -> None:
    """Use every word that a client may choose."""
    await gateway.chat(model=name)
    await gateway.chat(entroute={"strategy": name})
    await gateway.chat(entroute={"verifier": {"kind": name}, "strategy": "best_of_n"})
    await gateway.chat(entroute={"cache_tags": [name]}, headers={"x-request-id": name})
    await gateway.chat(headers={"x-entroute-strategy": name, "user-agent": name})
    await gateway.chat(service_tier=name, user=name)
    await gateway.post("embeddings", {"model": name, "input": "Hi"})
    await gateway.post("feedback", {"id": name, "right": True})
    for path in (f"/{name}", f"/v1/{name}", f"/v1/responses/{name}", f"/v1/usage?month={name}"):
        await gateway.http.request("GET", gateway.url + path)
        await gateway.http.request("PROPFIND", gateway.url + path)


async def test_no_word_of_a_client_s_makes_a_series(gateway: Client):
    await use(gateway, "warm")
    before = await series(gateway)
    for place in range(15):
        await use(gateway, f"odd-{place}")
    new = await series(gateway) - before
    assert not {one for one in new if "odd-" in str(one)}
    assert len(new) < 40  # what had not happened yet; each of 15 rounds would add its own


async def test_no_word_of_a_client_s_makes_a_line_of_the_log(tmp_path: Path, workers: Workers):
    settings = two_tiers(workers.small.url, workers.large.url)
    context = served(tmp_path, settings, within_s=60)
    process = await asyncio.to_thread(context.__enter__)
    try:
        async with httpx.AsyncClient(base_url=process.url, timeout=30) as client:
            for body in (
                {"model": ODD, "messages": [{"role": "user", "content": ODD}]},
                {"model": "small", "messages": [{"role": ODD, "content": ODD}], ODD: ODD},
                {"model": "small", "messages": [{"role": "user", "content": ODD}], "user": ODD},
            ):
                await client.post("/v1/chat/completions", json=body)
            await client.get("/v1/models%0a%7B%22event%22:%22forged%22%7D")
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)
    lines = process.log.read_text(encoding="utf-8").splitlines()
    told = [json.loads(line) for line in lines if line.startswith("{")]
    assert len(told) >= 4
    assert not [line for line in told if line.get("event") == "forged"]
    assert "forged" not in "".join(lines)
    assert "\x1b" not in "".join(lines)
