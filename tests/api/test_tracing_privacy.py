"""Nothing that a client or a model said, and no key, leaves in a span unless it is asked for."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from tests.api.conftest import Client, Workers, base_settings, client_of
from tests.api.ways import BUBBLEWRAP
from tests.collector import Collector, Span, collecting
from tests.gateway_process import serving
from tests.keys import write_key_file

pytestmark = pytest.mark.asyncio(loop_scope="session")

KEY = "sk-marked-key-of-a-client"
COLLECTOR_KEY = "Bearer marked-key-of-the-collector"
TENANT = "marked-tenant"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


def settings_of(
    workers: Workers, collector: Collector, folder: Path, **tracing: Any
) -> dict[str, Any]:
    """Return settings of a gateway that asks for keys and traces."""
    facts = {"tenant": TENANT, "group": "partners"}
    return base_settings(
        workers,
        sandbox=BUBBLEWRAP,
        auth={"keys_file": str(write_key_file(folder / "keys.yaml", {KEY: facts}))},
        tracing={
            "endpoint": collector.url,
            "headers": {"authorization": COLLECTOR_KEY},
            **tracing,
        },
    )


@pytest_asyncio.fixture(loop_scope="session")
async def gateway(
    workers: Workers, http: httpx.AsyncClient, collector: Collector, tmp_path: Path
) -> AsyncIterator[Client]:
    async with serving(settings_of(workers, collector, tmp_path)) as url:
        yield client_of(url, http)


def marked() -> str:
    """Return what is found again wherever it is written."""
    return f"marked{uuid4().hex}"


def bodies(mark: str) -> list[tuple[str, dict[str, Any]]]:
    """Return requests that carry a mark in all that clients may write, good ones and wrong ones."""
    message = {"role": "user", "content": f"Why {mark}? End with the answer as a number."}
    chat = {"model": "auto", "messages": [message]}
    call = {"id": mark, "type": "function", "function": {"name": mark, "arguments": mark}}
    tool = {"type": "function", "function": {"name": mark, "description": mark, "parameters": {}}}
    conversation = [
        {"role": "system", "content": mark},
        message,
        {"role": "assistant", "content": mark, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": mark, "content": mark},
    ]
    strategies = ("cascade", "self_consistency", "program_first", "cot_pot", "self_refine")
    verifiers = (
        {"kind": "judge", "rubric": mark},
        {"kind": "exact", "answer": mark},
        {"kind": "program", "source": f"def sat(answer):\n    return {mark!r} in str(answer)"},
    )
    best = {"strategy": "best_of_n"}
    more: list[dict[str, Any]] = [
        {},
        {"stream": True},
        {"messages": conversation, "tools": [tool], "model": "small"},
        {"stop": [mark], "user": mark, "metadata": {"a": mark}, "seed": 3},
        {"model": mark},
        {"temperature": mark},
        {mark: mark},
        {"entroute": {mark: mark}},
        {"entroute": {"cache_tags": [mark]}},
        *({"entroute": {"strategy": name}} for name in strategies),
        *({"entroute": {**best, "verifier": verifier}} for verifier in verifiers),
    ]
    return [
        *(("chat/completions", {**chat, **fields}) for fields in more),
        ("completions", {"model": "small", "prompt": mark, "suffix": mark}),
        ("completions", {"model": "small", "prompt": mark}),
        ("responses", {"model": "small", "input": mark, "instructions": mark}),
        ("embeddings", {"model": mark, "input": mark}),
    ]


async def ask_all(gateway: Client, mark: str) -> set[int]:
    headers = {"authorization": f"Bearer {KEY}", "baggage": f"who={mark}"}
    return {(await gateway.post(p, body, headers)).status_code for p, body in bodies(mark)}


async def all_told(collector: Collector, requests: int) -> list[Span]:
    assert await asyncio.to_thread(collector.has, lambda c: len(c.requests) >= requests)
    return list(collector.spans)


@pytest.mark.parametrize(
    "trouble",
    [None, {"kind": "status", "status": 400}, {"kind": "status", "status": 500}, {"kind": "reset"}],
    ids=str,
)
async def test_nothing_that_was_said_and_no_key_is_in_a_single_byte_of_it(
    gateway: Client, workers: Workers, collector: Collector, trouble: dict[str, Any] | None
) -> None:
    mark = marked()
    for worker in (workers.small, workers.large):
        program = f"```python\n# {mark}\nprint(51)\n```"
        rules = [{"contains": "prints only", "answer": program}]
        answer = f"{mark} is the answer 51"
        await worker.script(rules=rules, answers=[answer], failure=trouble, certainty=0.4)
    statuses = await ask_all(gateway, mark)
    assert statuses >= ({200, 400, 404} if trouble is None else {400, 404})
    spans = await all_told(collector, len(bodies(mark)))
    assert len(spans) > 2 * len(bodies(mark)) or trouble is not None
    for body in collector.bodies:
        for secret in (mark, KEY, "marked-key-of-the-collector", TENANT):
            assert secret.encode() not in body
    assert {one["authorization"] for one in collector.headers} == {COLLECTOR_KEY}
    keyed = {s.facts.get("entroute.group") for s in spans if "entroute.key" in s.facts}
    assert keyed == {"partners"}


@pytest.mark.parametrize("calls", [5, [5], [{"id": "c1", "function": "f"}], [{}]])
async def test_nonsense_that_a_worker_takes_is_recorded_as_it_can_be(
    workers: Workers, http: httpx.AsyncClient, collector: Collector, tmp_path: Path, calls: Any
) -> None:
    said = [{"role": "assistant", "tool_calls": calls}, {"role": "user", "content": "Is it so?"}]
    async with serving(settings_of(workers, collector, tmp_path, content=True)) as url:
        client, headers = client_of(url, http), {"authorization": f"Bearer {KEY}"}
        response = await client.post(
            "chat/completions", {"model": "small", "messages": said}, headers
        )
        assert response.status_code == 200
    (chat,) = [span for span in collector.spans if span.operation == "chat"]
    assert "Is it so?" in chat.facts["gen_ai.input.messages"]


async def test_prompts_and_answers_are_recorded_where_that_is_asked_for(
    workers: Workers, http: httpx.AsyncClient, collector: Collector, tmp_path: Path
) -> None:
    await workers.small.script(answers=["It is so."])
    told = {"role": "tool", "tool_call_id": "c1", "content": "42"}
    called = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    asked = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "Is it so?"}]},
        {"role": "assistant", "content": None, "tool_calls": [called]},
        told,
    ]
    async with serving(settings_of(workers, collector, tmp_path, content=True)) as url:
        client, headers = client_of(url, http), {"authorization": f"Bearer {KEY}"}
        body = {"model": "small", "messages": asked}
        assert (await client.post("chat/completions", body, headers)).status_code == 200
        plain = {"model": "small", "prompt": "Once upon"}
        assert (await client.post("completions", plain, headers)).status_code == 200
    chat, text = [s for s in collector.spans if s.operation in {"chat", "text_completion"}]
    assert json.loads(chat.facts["gen_ai.input.messages"]) == [
        {"role": "system", "parts": [{"type": "text", "content": "Be short."}]},
        {"role": "user", "parts": [{"type": "text", "content": "Is it so?"}]},
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "c1", "name": "f", "arguments": "{}"}],
        },
        {
            "role": "tool",
            "parts": [{"type": "tool_call_response", "id": "c1", "response": "42"}],
        },
    ]
    assert json.loads(chat.facts["gen_ai.output.messages"]) == [
        {
            "role": "assistant",
            "parts": [{"type": "text", "content": "It is so."}],
            "finish_reason": "stop",
        }
    ]
    assert "Once upon" in text.facts["gen_ai.input.messages"]
    for body_bytes in collector.bodies:  # keys never, whatever is asked for
        assert KEY.encode() not in body_bytes
        assert b"marked-key-of-the-collector" not in body_bytes
