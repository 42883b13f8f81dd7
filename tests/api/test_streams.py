"""Streams on the wire: real pieces, one identity, usage when asked, honest ends."""

import asyncio
import time
from itertools import pairwise
from typing import Any

import httpx
import pytest

from tests.api.conftest import EASY, OPEN, PROBED_MIDDLE_SURE, Client, Workers

pytestmark = pytest.mark.asyncio(loop_scope="session")

ASK: list[Any] = [{"role": "user", "content": EASY}]
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "weather", "parameters": {}}}


async def test_a_stream_says_what_the_whole_answer_says(gateway: Client, workers: Workers):
    await workers.small.script(answer="It has eight legs.")
    stream = await gateway.sdk.chat.completions.create(model="small", messages=ASK, stream=True)
    pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(pieces) == "It has eight legs."
    assert [piece for piece in pieces if piece] == ["It", " has", " eight", " legs", "."]


async def test_pieces_arrive_while_the_worker_is_still_making_others(
    gateway: Client, workers: Workers
):
    await workers.small.script(tokens=20, tokens_per_second=40)
    stream = await gateway.sdk.chat.completions.create(model="small", messages=ASK, stream=True)
    times = [time.perf_counter() async for _ in stream]
    assert times[-1] - times[0] > 0.3
    assert max(b - a for a, b in pairwise(times)) < 0.3


async def test_the_first_chunk_carries_the_role_and_no_other_does(gateway: Client):
    events = await gateway.events()
    roles = [c["delta"].get("role") for chunk in events.chunks for c in chunk["choices"]]
    assert roles[0] == "assistant"
    assert set(roles[1:]) == {None}


@pytest.mark.parametrize("certainty", [0.99, PROBED_MIDDLE_SURE, 0.9, 0.4])
async def test_identity_is_constant_over_the_stream(
    gateway: Client, workers: Workers, certainty: float
):
    await workers.small.script(certainty=certainty)
    events = await gateway.events(OPEN, model="auto")
    assert len({(c["id"], c["created"], c["model"], c["object"]) for c in events.chunks}) == 1
    assert events.chunks[0]["model"] == ("qwen-small" if certainty > 0.9 else "qwen-large")
    assert events.done


async def test_an_escalating_stream_releases_nothing_of_the_small_tier(
    gateway: Client, workers: Workers
):
    await workers.small.script(answer={"text": "small " * 40, "certainty": 0.4})
    await workers.large.script(answer="large")
    events = await gateway.events(entroute={"strategy": "cascade"}, model="auto")
    assert events.text == "large"
    assert events.chunks[-1]["entroute"]["stop_reason"] == "escalated"


async def test_usage_is_sent_only_when_asked(gateway: Client):
    events = await gateway.events()
    assert all("usage" not in chunk for chunk in events.chunks)


async def test_include_usage_adds_one_chunk_without_choices_and_nulls_before_it(gateway: Client):
    events = await gateway.events(stream_options={"include_usage": True})
    *others, last = events.chunks
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 16
    assert [chunk["usage"] for chunk in others] == [None] * len(others)
    assert all(chunk["choices"] for chunk in others)


@pytest.mark.parametrize("include_usage", [True, False])
async def test_final_values_are_in_the_last_chunk_alone(gateway: Client, *, include_usage: bool):
    events = await gateway.events(stream_options={"include_usage": include_usage})
    *others, last = events.chunks
    assert all("entroute" not in chunk for chunk in others)
    final = last["entroute"]
    assert final["tier"] == "small"
    assert final["strategy"] == "single"
    assert final["stop_reason"] == "settled"
    assert final["cache"] == "bypass"
    assert final["calls"] == 1
    assert final["degraded"] == []
    assert final["overhead_ms"] > 0
    assert final["usage"]["completion_tokens"] == 16
    assert events.done


async def test_internal_log_probabilities_are_stripped(gateway: Client, workers: Workers):
    events = await gateway.events(model="auto", entroute={"strategy": "cascade"})
    assert (await workers.bodies())[0]["logprobs"] is True
    assert {c["logprobs"] for chunk in events.chunks for c in chunk["choices"]} == {None}


async def test_wanted_log_probabilities_come_with_their_tokens(gateway: Client):
    stream = await gateway.sdk.chat.completions.create(
        model="small", messages=ASK, stream=True, logprobs=True, top_logprobs=2, max_tokens=3
    )
    entries = [
        entry
        async for chunk in stream
        if chunk.choices[0].logprobs
        for entry in chunk.choices[0].logprobs.content or ()
    ]
    assert [entry.token for entry in entries] == ["word0", " word1", " word2"]
    assert [len(entry.top_logprobs) for entry in entries] == [2, 2, 2]


async def test_n_choices_stream_side_by_side_each_with_role_and_end(
    gateway: Client, workers: Workers
):
    await workers.small.script(answers=["one", "one two", "one two three"], tokens_per_second=200)
    events = await gateway.events(n=3, stream_options={"include_usage": True})
    assert sorted(events.text_of(i) for i in range(3)) == ["one", "one two", "one two three"]
    choices = [c for chunk in events.chunks for c in chunk["choices"]]
    for index in range(3):
        own = [c for c in choices if c["index"] == index]
        assert own[0]["delta"]["role"] == "assistant"
        assert [c["finish_reason"] for c in own[:-1]] == [None] * (len(own) - 1)
        assert own[-1]["finish_reason"] == "stop"
    assert events.chunks[-1]["usage"]["completion_tokens"] == 6


async def test_tool_calls_stream_as_indexed_argument_pieces(gateway: Client, workers: Workers):
    calls = [
        {"name": "weather", "arguments": {"city": "Oslo"}},
        {"name": "weather", "arguments": {"city": "Rome"}},
    ]
    await workers.small.script(answer={"tool_calls": calls})
    events = await gateway.events(tools=[TOOL])
    pieces = [
        piece
        for chunk in events.chunks
        for choice in chunk["choices"]
        for piece in choice["delta"].get("tool_calls", [])
    ]
    assert len(pieces) > 4
    for index, city in enumerate(("Oslo", "Rome")):
        own = [piece for piece in pieces if piece["index"] == index]
        assert own[0]["id"]
        assert own[0]["function"]["name"] == "weather"
        arguments = "".join(p["function"].get("arguments", "") for p in own)
        assert arguments == f'{{"city": "{city}"}}'
    assert events.chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_voted_tool_calls_stream_with_indices_too(gateway: Client, workers: Workers):
    await workers.small.script(answer={"tool_calls": [{"name": "weather", "arguments": {}}]})
    events = await gateway.events(tools=[TOOL], entroute={"strategy": "self_consistency"})
    pieces = [p for c in events.chunks for p in c["choices"][0]["delta"].get("tool_calls", [])]
    assert [piece["index"] for piece in pieces] == [0]
    assert pieces[0]["function"] == {"name": "weather", "arguments": "{}"}


async def test_reasoning_streams_beside_the_content(gateway: Client, workers: Workers):
    await workers.small.script(answer={"reasoning": "Let me think.", "text": "Eight."})
    events = await gateway.events()
    deltas = [chunk["choices"][0]["delta"] for chunk in events.chunks]
    assert "".join(d.get("reasoning_content", "") for d in deltas) == "Let me think."
    assert events.text == "Eight."


async def test_keep_alive_comments_come_while_samples_are_compared(
    gateway: Client, workers: Workers
):
    await workers.small.script(ttft_ms=1500, answer="The answer is 4.")
    events = await gateway.events(entroute={"strategy": "self_consistency"})
    assert events.comments >= 2
    assert events.text == "The answer is 4."
    assert events.done


async def test_the_sdk_reads_a_stream_with_keep_alives(gateway: Client, workers: Workers):
    await workers.small.script(ttft_ms=900, answer="The answer is 4.")
    stream = await gateway.sdk.chat.completions.create(
        model="small",
        messages=ASK,
        stream=True,
        extra_body={"entroute": {"strategy": "self_consistency"}},
    )
    pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(pieces) == "The answer is 4."


async def test_headers_say_what_is_known_at_the_first_byte(gateway: Client):
    response = await gateway.chat(stream=True)
    assert response.headers["x-entroute-tier"] == "small"
    assert response.headers["x-entroute-strategy"] == "single"
    assert response.headers["x-entroute-cache"] == "bypass"
    assert "x-entroute-calls" not in response.headers
    assert "content-length" not in response.headers
    assert response.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("kind", ["reset", "close", "malformed", "truncated"])
async def test_a_worker_that_fails_in_mid_stream_ends_it_with_an_error(
    gateway: Client, workers: Workers, kind: str
):
    failure = {"kind": kind, "after_tokens": 3, "times": 1}
    await workers.small.script(failure=failure, tokens_per_second=50)
    events = await gateway.events()
    # A reset may overtake the last token on its way.
    assert events.text in {"word0 word1 word2", "word0 word1"}
    assert not events.done
    assert events.error is not None
    assert events.error["type"] == "server_error"
    assert workers.small.url not in str(events.error)


async def test_the_sdk_raises_on_an_error_in_mid_stream(gateway: Client, workers: Workers):
    await workers.small.script(failure={"kind": "close", "after_tokens": 3, "times": 1})
    stream = await gateway.sdk.chat.completions.create(model="small", messages=ASK, stream=True)
    with pytest.raises(Exception, match="worker failed"):
        async for _ in stream:
            pass


async def test_a_mid_stream_failure_counts_as_a_server_error(gateway: Client, workers: Workers):
    labels = {"outcome": "server_error", "endpoint": "chat"}
    before = await gateway.sample("entroute_requests_total", **labels)
    await workers.small.script(failure={"kind": "close", "after_tokens": 3, "times": 1})
    await gateway.events()
    assert await gateway.sample("entroute_requests_total", **labels) == before + 1


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"model": "nonsense"}, 404),
        ({"messages": []}, 400),
        ({"entroute": {"strategy": "nonsense"}}, 400),
        ({"entroute": {"budget": {"max_cost_usd": 0}}}, 400),
    ],
)
async def test_what_fails_at_once_keeps_its_status_on_streams(
    gateway: Client, fields: dict[str, Any], status: int
):
    response = await gateway.chat(stream=True, **fields)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"


async def test_a_worker_that_fails_at_once_keeps_its_status_on_streams(
    gateway: Client, workers: Workers
):
    await workers.small.script(failure={"kind": "status", "status": 500})
    response = await gateway.chat(stream=True)
    assert response.status_code == 502


async def test_a_slow_failure_after_a_keep_alive_is_an_error_event(
    gateway: Client, workers: Workers
):
    await workers.small.script(ttft_ms=5000)
    events = await gateway.events(
        entroute={"strategy": "self_consistency", "budget": {"deadline_ms": 1500}}
    )
    assert events.comments >= 1
    assert events.chunks == []
    assert events.error is not None
    assert events.error["code"] == "deadline_exceeded"
    assert not events.done


async def test_many_streams_run_side_by_side(gateway: Client, workers: Workers):
    await workers.small.script(tokens=10, tokens_per_second=40)
    started = time.perf_counter()
    results = await asyncio.gather(*(gateway.events() for _ in range(20)))
    assert time.perf_counter() - started < 3
    assert all(result.done and len(result.text.split()) == 10 for result in results)


async def test_bytes_beyond_ascii_survive_the_stream(gateway: Client, workers: Workers):
    text = "Grüße, 世界 🦀 \u2028 \\n"
    await workers.small.script(answer=text)
    assert (await gateway.events()).text == text


async def test_a_stream_does_not_hold_its_connection_after_the_end(
    gateway: Client, http: httpx.AsyncClient
):
    async with http.stream(
        "POST",
        f"{gateway.url}/v1/chat/completions",
        json={"model": "small", "messages": ASK, "stream": True},
    ) as response:
        lines = [line async for line in response.aiter_lines()]
    assert lines[-2] == "data: [DONE]"
