"""Workers of a fleet describe what they say, and keep port and journal over restarts."""

import asyncio
import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from loadtest.describing import TOKEN
from loadtest.fleet import Fleet, FleetWorker, Group, fleet
from loadtest.sent import Sent, digest
from loadtest.spawn import ROOT

SCRIPT: Mapping[str, Any] = {"described": True, "tokens_per_second": 200}
END_S = 20.0


async def said(worker: FleetWorker, prompt: str, **changes: Any) -> str:
    """Return a worker's answer to a prompt."""
    body = {"model": worker.tier, "messages": [{"role": "user", "content": prompt}], **changes}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{worker.url}/v1/chat/completions", json=body) as answer,
    ):
        content = (await answer.json())["choices"][0]["message"]["content"]
    return str(content)


async def ended(running: Fleet, count: int) -> list[Sent]:
    """Return what was sent once so many generations have ended."""
    async with asyncio.timeout(END_S):
        while sum(one.end != "killed" for one in running.sent().values()) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return list(running.sent().values())


async def test_every_token_names_its_process_generation_and_place(tmp_path: Path):
    async with fleet([Group("small", 1, SCRIPT)], tmp_path) as running:
        worker = running.by_name("small0")
        first = await said(worker, "[q1 3] go on")
        second = await said(worker, "[q2 2] go on")
        journal = await ended(running, 2)
    assert first == "small0r1.0.0 small0r1.0.1 small0r1.0.2"
    assert second == "small0r1.1.0 small0r1.1.1"
    assert [(one.prompt, one.text, one.made, one.end) for one in journal] == [
        ("q1", first, 3, "finished"),
        ("q2", second, 2, "finished"),
    ]


async def test_a_begun_answer_is_gone_on_with_to_its_length(tmp_path: Path):
    async with fleet([Group("large", 1, SCRIPT)], tmp_path) as running:
        partial = "small0r1.7.0 small0r1.7.1"
        answer = {"role": "assistant", "content": partial}
        messages = [{"role": "user", "content": "[q1 4] go on"}, answer]
        goes_on = {"continue_final_message": True, "add_generation_prompt": False}
        rest = await said(running.workers[0], "", messages=messages, **goes_on)
        journal = await ended(running, 1)
    assert rest == " large0r1.0.0 large0r1.0.1"
    assert journal[0].before == digest(partial)


async def test_a_checkable_prompt_ends_with_a_drawn_answer_in_one_token(tmp_path: Path):
    rules = [{"contains": "sum", "answers": ["#### 42", "#### 7"]}]
    script = {**SCRIPT, "rules": rules, "accuracy": 1.0}
    async with fleet([Group("small", 1, script)], tmp_path) as running:
        answer = await said(running.workers[0], "[q1 1] the sum", max_tokens=2)
        cut = await said(running.workers[0], "[q1 2] the sum", max_tokens=2)
    assert answer == "small0r1.0.0\n#### 42"
    assert cut == "small0r1.1.0 small0r1.1.1"


async def test_a_killed_worker_comes_back_on_its_port_under_another_name(tmp_path: Path):
    async with fleet([Group("small", 1, SCRIPT)], tmp_path) as running:
        worker = running.workers[0]
        asking = asyncio.create_task(said(worker, "[q1 1000] go on"))
        async with asyncio.timeout(END_S):
            while not running.sent():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await worker.kill()
        with pytest.raises(aiohttp.ClientError):
            await asking
        await worker.start()
        assert await said(worker, "[q2 1] go on") == "small0r2.0.0"
        sent = running.sent()
    assert sent["small0r1", 0].end == "killed"
    assert sent["small0r1", 0].ended == float("inf")


async def test_a_paused_worker_answers_when_it_is_resumed(tmp_path: Path):
    async with fleet([Group("small", 1, SCRIPT)], tmp_path) as running:
        worker = running.workers[0]
        worker.pause()
        asking = asyncio.create_task(said(worker, "[q1 2] go on"))
        await asyncio.sleep(0.3)
        assert not asking.done()
        worker.resume()
        assert len(TOKEN.findall(await asyncio.wait_for(asking, END_S))) == 2


async def test_a_rescripted_worker_is_mended(tmp_path: Path):
    async with fleet([Group("small", 1, SCRIPT)], tmp_path) as running:
        worker = running.workers[0]
        await worker.rescript(failures=[{"kind": "reset", "after_tokens": 2}])
        with pytest.raises(aiohttp.ClientError):
            await said(worker, "[q1 5] go on")
        await worker.mend()
        assert len(TOKEN.findall(await said(worker, "[q2 5] go on"))) == 5
        journal = await ended(running, 2)
    assert [(one.end, one.made) for one in journal] == [("reset", 2), ("finished", 5)]


async def test_a_client_that_leaves_is_in_the_journal(tmp_path: Path):
    async with fleet([Group("small", 1, SCRIPT)], tmp_path) as running:
        asking = asyncio.create_task(said(running.workers[0], "[q1 10000] go on"))
        async with asyncio.timeout(END_S):
            while not running.sent():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        asking.cancel()
        journal = await ended(running, 1)
    assert journal[0].end == "left"
    assert journal[0].made < 10_000


async def test_the_command_prints_a_gateways_tiers_and_ends_its_workers():
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "loadtest.fleet", "--workers", "small=2"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    text = b""
    while not text.endswith(b"\n}\n"):
        text += await asyncio.wait_for(process.stdout.readline(), 60)
    tiers = json.loads(text)["tiers"]
    process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(process.communicate(), 30)
    assert [tier["name"] for tier in tiers] == ["small"]
    for worker in tiers[0]["workers"]:
        port = int(worker["url"].removesuffix("/v1").rpartition(":")[2])
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
