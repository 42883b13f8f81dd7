"""The fake worker's slow, odd and occasional failures, its luck and its prefix cache."""

import asyncio
import time
from collections import Counter
from contextlib import suppress
from random import Random
from typing import Any

import aiohttp
import openai
import pytest
from openai import AsyncOpenAI

from loadtest.failures import Failing, Failure
from loadtest.prefixes import PrefixCache
from loadtest.spawn import FakeWorker

BODY: dict[str, Any] = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}


async def pieces(worker: FakeWorker, limit_s: float, **changes: Any) -> list[bytes]:
    """Return what comes within a time, as it came; empty without a head."""
    came: list[bytes] = []

    async def consume() -> None:
        url = f"{worker.url}/v1/chat/completions"
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json={**BODY, **changes}) as answer,
        ):
            async for data in answer.content.iter_any():
                came.append(data)  # noqa: PERF401 - what came before the limit counts

    with suppress(TimeoutError):
        await asyncio.wait_for(consume(), limit_s)
    return came


@pytest.mark.parametrize("stream", [True, False])
async def test_a_trickling_answer_comes_whole_in_many_pieces(worker: FakeWorker, stream: bool):  # noqa: FBT001
    await worker.script(tokens=3)
    at_once = b"".join(await pieces(worker, 10, stream=stream))
    trickle = {"kind": "trickle", "piece_bytes": 50, "every_ms": 2}
    await worker.script(failure=trickle)
    started = time.monotonic()
    came = await pieces(worker, 30, stream=stream)
    assert len(b"".join(came)) == pytest.approx(len(at_once), abs=20)
    assert len(came) > 3
    assert time.monotonic() - started > 0.002 * (len(at_once) // 50)


async def test_a_trickle_slows_generation_to_its_pace(worker: FakeWorker):
    await worker.script(failure={"kind": "trickle", "piece_bytes": 1, "every_ms": 50})
    assert len(b"".join(await pieces(worker, 0.5, stream=True))) < 30
    assert (await worker.metrics())["vllm:generation_tokens_total"] <= 1


async def test_a_slow_loris_never_ends_its_head(worker: FakeWorker):
    await worker.script(failure={"kind": "slow_loris", "every_ms": 5})
    head = b""
    body = b'{"model": "small", "messages": []}'
    reader, writer = await asyncio.open_connection("127.0.0.1", int(worker.url.split(":")[-1]))
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body))
    writer.write(body)
    while len(head) < 60:
        head += await asyncio.wait_for(reader.read(100), 5)
    writer.close()
    assert head.startswith(b"HTTP/1.1 200 OK\r\nx-slow: aaaa")
    assert b"\r\n\r\n" not in head


async def test_a_wrong_content_type_is_a_page_with_status_200(worker: FakeWorker):
    await worker.script(failure={"kind": "content_type"})
    url = f"{worker.url}/v1/chat/completions"
    async with aiohttp.ClientSession() as session, session.post(url, json=BODY) as answer:
        assert (answer.status, answer.content_type) == (200, "text/html")
        assert "<title>" in await answer.text()


def test_failures_with_a_probability_come_now_and_then_by_their_seed():
    failures = [
        Failure("status", probability=0.3),
        Failure("reset", probability=0.5),
        Failure("close", times=1),
    ]

    def kinds(seed: int) -> list[str]:
        failing = Failing(failures, Random(seed))  # noqa: S311
        drawn = (failing.next() for _ in range(400))
        return ["none" if failure is None else failure.kind for failure in drawn]

    seen = Counter(kinds(1))
    assert kinds(1) == kinds(1) != kinds(2)
    assert 80 < seen["status"] < 160
    assert 100 < seen["reset"] < 180
    assert seen["close"] == 1


async def test_several_failures_at_once_come_on_the_wire(worker: FakeWorker, sdk: AsyncOpenAI):
    await worker.script(
        failures=[
            {"kind": "status", "status": 503, "times": 1},
            {"kind": "status", "status": 429, "times": 1, "retry_after_s": 1},
        ]
    )
    with pytest.raises(openai.InternalServerError):
        await sdk.chat.completions.create(**BODY)
    with pytest.raises(openai.RateLimitError):
        await sdk.chat.completions.create(**BODY)
    assert (await sdk.chat.completions.create(**BODY)).choices
    with pytest.raises(ValueError, match=r"failures\[0\]\.probability must be at most 1"):
        await worker.script(failures=[{"kind": "reset", "probability": 2}])
    with pytest.raises(ValueError, match="piece_bytes must be at least 1"):
        await worker.script(failure={"kind": "trickle", "piece_bytes": 0})


async def test_accuracy_is_the_share_of_right_answers_by_prompt_and_sample(
    worker: FakeWorker, sdk: AsyncOpenAI
):
    rules = [{"contains": "sum", "answers": ["42", "41", "7"]}]

    async def answers(seed: int) -> list[str | None]:
        await worker.script(rules=rules, accuracy=0.7, seed=seed)
        texts = []
        for prompt in range(20):
            for _ in range(5):
                answer = await sdk.chat.completions.create(
                    model="small", messages=[{"role": "user", "content": f"The sum of {prompt}?"}]
                )
                texts.append(answer.choices[0].message.content)
        return texts

    first = await answers(1)
    assert first == await answers(1) != await answers(2)
    assert 55 <= first.count("42") <= 85
    assert {"41", "7"} < set(first)


async def test_a_rule_with_one_answer_has_wrong_ones_made_up(worker: FakeWorker, sdk: AsyncOpenAI):
    await worker.script(rules=[{"contains": "Hi", "answer": "right"}], accuracy=0)
    answer = await sdk.chat.completions.create(**BODY)
    assert (answer.choices[0].message.content or "").startswith("wrong ")


async def test_jitter_spreads_the_time_to_the_first_token(worker: FakeWorker):
    await worker.script(ttft_ms=100, jitter=1, seed=3, tokens=1)
    times = []
    for _ in range(8):
        started = time.monotonic()
        await pieces(worker, 10)
        times.append(time.monotonic() - started)
    assert max(times) - min(times) > 0.05


def test_prefixes_are_found_in_whole_blocks_and_per_salt():
    cache = PrefixCache()
    words = [f"w{number}" for number in range(64)]
    assert [cache.admit(words), cache.admit(words)] == [0, 48]  # never the last token
    assert cache.admit([*words, "more"]) == 64
    assert cache.admit(["other", *words[1:]]) == 0
    assert cache.admit(words, "a tenant's") == 0
    assert cache.admit(words, "a tenant's") == 48


def test_the_least_used_blocks_leave_first():
    cache = PrefixCache(most_blocks=3)
    one, two, three = ([name] * 17 for name in ("a", "b", "c"))
    for words in (one, two, three, one):
        cache.admit(words)
    cache.admit(["d"] * 17)  # in place of the second
    assert cache.admit(one) == 16
    assert cache.admit(two) == 0


async def test_a_salt_keeps_prompts_apart_on_the_wire(sdk: AsyncOpenAI):
    long: list[Any] = [{"role": "user", "content": "word " * 100}]
    cached = []
    for salt in ("a", "b", "a"):
        answer = await sdk.chat.completions.create(
            model="small", messages=long, extra_body={"cache_salt": salt}
        )
        assert answer.usage is not None
        assert answer.usage.prompt_tokens_details is not None
        cached.append(answer.usage.prompt_tokens_details.cached_tokens)
    assert cached == [0, 0, 96]
