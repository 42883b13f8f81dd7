"""Answers one generation request over its exchange: whole or streamed, in order or broken off.

It knows nothing about other endpoints.
"""

import asyncio
import time
import uuid
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from loadtest import wire
from loadtest.asking import Ask, Refused
from loadtest.engine import Engine
from loadtest.failures import AT_ONCE, Failure, Interrupted
from loadtest.generation import Plan, Step
from loadtest.http1 import JSON_HEADERS, Exchange
from loadtest.telling import Telling, Told

_PAGE = b"<!doctype html><title>Welcome</title><p>Please sign in to this network."


class Answering:
    """Turns checked requests into vLLM's bytes."""

    def __init__(
        self, engine: Engine, models: tuple[str, ...], max_model_len: int, telling: Telling
    ) -> None:
        self._engine = engine
        self._models = models
        self._max_model_len = max_model_len
        self._telling = telling

    async def answer(self, ask: Ask, exchange: Exchange) -> None:
        """Answer, or fail as the script says.

        Raises:
            Refused: the model is unknown or the prompt too long.
        """
        failure = self._engine.failing.next()
        if failure is not None and await failed_at_once(failure, exchange):
            return
        if failure is not None and failure.kind == "trickle":
            exchange = exchange.dribbling(failure)
        reply = self._prepare(ask)
        with self._telling.of(ask, self._engine, failure) as told:
            slot = self._engine.slot(reply.prompt_tokens, reply.cached_tokens)
            async with slot as told.progress.waited_s:
                try:
                    if ask.stream:
                        await self._stream(reply, told, exchange, failure)
                    else:
                        await self._engine.generate_all(told.plans, failure, told.progress)
                        exchange.send(200, reply.whole(told.plans))
                    await exchange.drain()
                    told.end = "finished"
                except Interrupted as interrupted:
                    told.end = interrupted.failure.kind
                    _break(interrupted.failure, reply, told.plans, exchange)

    def _prepare(self, ask: Ask) -> wire.Reply:
        if ask.model not in self._models:
            message = f"The model `{ask.model}` does not exist."
            raise Refused(404, "NotFoundError", message, "model")
        words = [prompt.split() for prompt in ask.prompts]
        prompt_tokens = sum(len(prompt) for prompt in words)
        self._check_length(prompt_tokens, ask.max_tokens or 1)
        cached = sum(self._engine.prefixes.admit(prompt, ask.cache_salt) for prompt in words)
        prefix = "chatcmpl-" if ask.endpoint == "chat" else "cmpl-"
        return wire.Reply(ask, prefix + uuid.uuid4().hex, int(time.time()), prompt_tokens, cached)

    def _check_length(self, prompt_tokens: int, output_tokens: int) -> None:
        if prompt_tokens + output_tokens > self._max_model_len:
            raise Refused(
                400,
                "BadRequestError",
                f"This model's maximum context length is {self._max_model_len} tokens. However, "
                f"you requested {output_tokens} output tokens and your prompt contains "
                f"{prompt_tokens} input tokens. Please reduce the length of the input messages "
                "or the number of requested output tokens.",
                "input_tokens",
            )

    async def _stream(
        self, reply: wire.Reply, told: Told, exchange: Exchange, failure: Failure | None
    ) -> None:
        exchange.begin()
        if self._engine.script.ttft_ms:
            exchange.flush()  # vLLM sends its head before the first token
        plans = told.plans
        tally = _Tally(reply, [0] * len(plans))
        async with aclosing(self._engine.generate(plans, failure, told.progress)) as steps:
            async for choice, step in steps:
                if not tally.generated:
                    tally.open(exchange)
                exchange.chunk(tally.token(choice, step))
                await exchange.drain()
        if not tally.generated:
            tally.open(exchange)
        for choice, plan in enumerate(plans):
            exchange.chunk(reply.chunk([reply.closing(choice, plan)], tally.running_usage()))
        if reply.ask.usage_at_end:
            exchange.chunk(reply.chunk([], reply.usage(tally.generated)))
        exchange.chunk(wire.DONE)
        exchange.end()


@dataclass(slots=True)
class _Tally:
    """How far a stream has come: characters a choice, tokens over all."""

    reply: wire.Reply
    characters: list[int]
    generated: int = 0

    def running_usage(self) -> dict[str, Any] | None:
        asked = self.reply.ask.usage_in_every_chunk
        return self.reply.usage(self.generated) if asked else None

    def open(self, exchange: Exchange) -> None:
        for choice in range(len(self.characters)):
            opening = self.reply.opening(choice)
            if opening is not None:
                exchange.chunk(self.reply.chunk([opening], self.running_usage()))

    def token(self, choice: int, step: Step) -> bytes:
        self.generated += 1
        entry = self.reply.delta(choice, step, self.characters[choice])
        self.characters[choice] += len(step.text)
        return self.reply.chunk([entry], self.running_usage())


async def failed_at_once(failure: Failure, exchange: Exchange) -> bool:
    """Fail before generation starts; False if this failure comes later."""
    if failure.kind == "status":
        headers = dict(JSON_HEADERS)
        if failure.retry_after_s is not None:
            headers["retry-after"] = f"{failure.retry_after_s:g}"
        message = f"scripted failure with status {failure.status}"
        body = wire.error(failure.status, "ScriptedError", message)
        exchange.send(failure.status, body, headers)
    elif failure.kind == "refuse":
        exchange.reset()
    elif failure.kind == "hang":
        await asyncio.Event().wait()
    elif failure.kind == "slow_loris":
        await exchange.send_endless_head(failure)
    elif failure.kind == "content_type":
        exchange.send(200, _PAGE, {"content-type": "text/html; charset=utf-8"})
    return failure.kind in AT_ONCE


def _break(failure: Failure, reply: wire.Reply, plans: Sequence[Plan], exchange: Exchange) -> None:
    if failure.kind == "reset":
        exchange.reset()
    elif reply.ask.stream:
        _break_stream(failure, reply, exchange)
    else:
        whole = reply.whole(plans)
        half = whole[: len(whole) // 2]
        if failure.kind == "malformed":
            exchange.send(200, half)
        else:
            exchange.send(200, half, promised=len(whole))
            exchange.close()


def _break_stream(failure: Failure, reply: wire.Reply, exchange: Exchange) -> None:
    if failure.kind == "close":
        exchange.close()
        return
    half_event = b'data: {"id": "%b", "choices": [{"delta": ' % reply.id.encode()
    if failure.kind == "malformed":
        exchange.chunk(half_event + b"\n\n")
        exchange.chunk(wire.DONE)
    else:
        exchange.chunk(half_event)
    exchange.end()
