"""A worker that thinks before it answers, and says so in vLLM's reasoning fields."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

PROMPT_TOKENS = 10

REFUSAL = (
    "thinking_token_budget is set but reasoning_config is not configured. Please set "
    "--reasoning-parser and/or --reasoning-config to use thinking_token_budget."
)
"""vLLM's words where it was started without a reasoning parser."""


@dataclass(frozen=True, slots=True)
class Thought:
    """What one sample does.

    Attributes:
        tokens: Tokens of thought before the answer.
        answer: The answer's pieces.
    """

    tokens: int
    answer: tuple[str, ...] = ("The answer ", "is 42.")


@dataclass(slots=True)
class ReasoningWorker:
    """Thinks as told, sample by sample; a seed says which sample a request is.

    Attributes:
        thoughts: By seed.
        name: How it calls its reasoning: `reasoning` (vLLM), `reasoning_content` (older ones).
        token_s: Seconds a token.
        parses: Whether it was started with a reasoning parser, and so takes a thinking budget.
        url: Base URL, with `/v1`.
        bodies: Every request, in order.
        finished: Seeds of the samples that it answered to their end.
        left: Seeds of the samples whose client went away.
    """

    thoughts: Sequence[Thought]
    name: str = "reasoning"
    token_s: float = 0.002
    parses: bool = True
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    finished: list[int] = field(default_factory=list)
    left: list[int] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a chat completion, streamed or whole."""
        body = await request.json()
        self.bodies.append(body)
        budget = body.get("thinking_token_budget")
        if budget is not None and not self.parses:
            error = {"message": REFUSAL, "type": "BadRequestError", "param": None, "code": 400}
            return web.json_response({"error": error}, status=400)
        thought = self.thoughts[body.get("seed", 0)]
        tokens = thought.tokens if budget is None else min(thought.tokens, budget)
        deltas = [{self.name: f"hm{i} "} for i in range(tokens)]
        deltas += [{"content": piece} for piece in thought.answer]
        if body.get("stream"):
            return await self._stream(request, deltas, body.get("seed", 0))
        message = {
            "role": "assistant",
            "content": "".join(thought.answer),
            self.name: "".join(delta.get(self.name, "") for delta in deltas),
        }
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response(_envelope([choice], len(deltas)))

    async def _stream(
        self, request: web.Request, deltas: Sequence[Mapping[str, str]], seed: int
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        try:
            for made, delta in enumerate(deltas, start=1):
                await asyncio.sleep(self.token_s)
                choice = {"index": 0, "delta": delta, "finish_reason": None}
                await response.write(_event(_envelope([choice], made)))
            last = {"index": 0, "delta": {}, "finish_reason": "stop"}
            await response.write(_event(_envelope([last], len(deltas))) + b"data: [DONE]\n\n")
        except ConnectionResetError:
            self.left.append(seed)
        else:
            self.finished.append(seed)
        return response


def _envelope(choices: list[dict[str, Any]], made: int) -> dict[str, Any]:
    usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": made}
    return {"id": "chatcmpl-1", "model": "thinker", "choices": choices, "usage": usage}


def _event(payload: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(payload) + b"\n\n"


@asynccontextmanager
async def reasoning_worker(*thoughts: Thought, **facts: Any) -> AsyncIterator[ReasoningWorker]:
    """Serve a worker on a free port of this machine."""
    worker = ReasoningWorker(thoughts, **facts)
    app = web.Application()
    app.router.add_post("/v1/chat/completions", worker.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        worker.url = f"http://{host}:{port}/v1"
        yield worker
    finally:
        await runner.cleanup()
