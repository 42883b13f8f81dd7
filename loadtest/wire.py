"""vLLM's JSON: whole answers, stream chunks, usage, errors, log-probabilities.

It knows nothing about sockets, scripts or pace.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from loadtest.asking import Ask
from loadtest.generation import Plan, Step, alternatives, tokenize

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Reply:
    """What every chunk of one answer shares; token counts are those of the prompts."""

    ask: Ask
    id: str
    created: int
    prompt_tokens: int
    cached_tokens: int

    def usage(self, generated: int) -> dict[str, Any]:
        """Return the usage after `generated` tokens over all choices."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": self.prompt_tokens + generated,
            "completion_tokens": generated,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }

    def chunk(self, choices: list[dict[str, Any]], usage: dict[str, Any] | None) -> bytes:
        """Return one event of the stream; a usage of None is left out, as vLLM does."""
        chat = self.ask.endpoint == "chat"
        body = self._envelope("chat.completion.chunk" if chat else "text_completion")
        body["choices"] = choices
        if usage is not None:
            body["usage"] = usage
        return b"data: %b\n\n" % orjson.dumps(body)

    def whole(self, plans: Sequence[Plan]) -> bytes:
        """Return the body of an answer that is not streamed."""
        chat = self.ask.endpoint == "chat"
        body = self._envelope("chat.completion" if chat else "text_completion")
        render = _chat_choice if chat else _text_choice
        body["choices"] = [render(self, number, plan) for number, plan in enumerate(plans)]
        body["usage"] = self.usage(sum(len(plan.steps) for plan in plans))
        return orjson.dumps(body)

    def opening(self, choice: int) -> dict[str, Any] | None:
        """Return the first choice entry of a stream: the role, or the echoed prompt, or None."""
        if self.ask.endpoint == "chat":
            return _choice(choice, {"delta": {"role": "assistant", "content": ""}}, None)
        if self.ask.echo:
            return _choice(choice, {"text": self._echoed(choice)}, self._read(choice))
        return None

    def delta(self, choice: int, step: Step, offset: int) -> dict[str, Any]:
        """Return the choice entry of one token; `offset` in characters of the text so far."""
        if self.ask.endpoint == "chat":
            return _choice(choice, {"delta": _delta(self, step)}, self._logprobs([step], offset))
        return _choice(choice, {"text": step.text}, self._logprobs([step], offset))

    def closing(self, choice: int, plan: Plan) -> dict[str, Any]:
        """Return the last choice entry of a stream, with the reason it ends."""
        empty = {"delta": {"content": ""}} if self.ask.endpoint == "chat" else {"text": ""}
        return _choice(choice, empty, None) | _ending(plan)

    def _envelope(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.ask.model,
        }

    def _echoed(self, choice: int) -> str:
        return self.ask.prompts[choice // self.ask.n] if self.ask.echo else ""

    def _read(self, choice: int) -> dict[str, Any] | None:
        """Return the log-probabilities of an echoed prompt; its first token has none."""
        if self.ask.logprobs is None or not self.ask.echo:
            return None
        steps = [Step(token, token, 0.5) for token in tokenize(self._echoed(choice))]
        read = _legacy(steps, self.ask.logprobs, 0)
        read["token_logprobs"][:1], read["top_logprobs"][:1] = [None], [None]
        return read

    def _logprobs(self, steps: Sequence[Step], offset: int) -> dict[str, Any] | None:
        count = self.ask.logprobs
        if count is None:
            return None
        if self.ask.endpoint == "chat":
            shown = [step for step in steps if step.channel != "tool"]
            return {"content": [_entry(step, count) for step in shown]} if shown else None
        return _legacy(steps, count, offset)


def error(status: int, kind: str, message: str, param: str | None = None) -> bytes:
    """Return vLLM's error body."""
    fields = {"message": message, "type": kind, "param": param, "code": status}
    return orjson.dumps({"error": fields})


def _choice(index: int, content: dict[str, Any], logprobs: dict[str, Any] | None) -> dict[str, Any]:
    return {"index": index, **content, "logprobs": logprobs, "finish_reason": None}


def _ending(plan: Plan) -> dict[str, Any]:
    return {"finish_reason": plan.finish_reason, "stop_reason": plan.stop_reason}


def _delta(reply: Reply, step: Step) -> dict[str, Any]:
    if step.channel == "content":
        return {"content": step.text}
    if step.channel == "reasoning":
        return {"reasoning_content": step.text}
    if not step.name:
        return {"tool_calls": [{"index": step.call, "function": {"arguments": step.text}}]}
    function = {"name": step.name, "arguments": ""}
    return {"tool_calls": [{"index": step.call, **_tool_call(reply, step.call, function)}]}


def _tool_call(reply: Reply, number: int, function: dict[str, str]) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-tool-{reply.id[-8:]}{number}",
        "type": "function",
        "function": function,
    }


def _chat_choice(reply: Reply, index: int, plan: Plan) -> dict[str, Any]:
    calls: list[dict[str, Any]] = []
    for step in plan.steps:
        if step.channel == "tool" and step.name:
            calls.append(_tool_call(reply, step.call, {"name": step.name, "arguments": ""}))
        elif step.channel == "tool":
            calls[-1]["function"]["arguments"] += step.text
    text = plan.content
    if reply.ask.echo:
        text = reply.ask.partial + text
    message = {
        "role": "assistant",
        "content": None if calls and not text else text,
        "reasoning_content": plan.reasoning or None,
        "tool_calls": calls,
    }
    logprobs = reply._logprobs(plan.steps, 0)  # noqa: SLF001  # one module, one class
    return _choice(index, {"message": message}, logprobs) | _ending(plan)


def _text_choice(reply: Reply, index: int, plan: Plan) -> dict[str, Any]:
    echoed = reply._echoed(index)  # noqa: SLF001  # one module, one class
    logprobs = reply._logprobs(plan.steps, len(echoed))  # noqa: SLF001
    read = reply._read(index)  # noqa: SLF001
    if logprobs is not None and read is not None:
        logprobs = {name: [*read[name], *values] for name, values in logprobs.items()}
    return _choice(index, {"text": echoed + plan.content}, logprobs) | _ending(plan)


@lru_cache(maxsize=4096)  # entries are only read: by the encoder
def _entry(step: Step, count: int) -> dict[str, Any]:
    ranked = [_token(token, logprob) for token, logprob in alternatives(step, max(count, 1))]
    return {**ranked[0], "top_logprobs": ranked if count else []}


def _token(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}


def _legacy(steps: Sequence[Step], count: int, offset: int) -> dict[str, Any]:
    offsets = []
    for step in steps:
        offsets.append(offset)
        offset += len(step.text)
    ranked = [alternatives(step, max(count, 1)) for step in steps]
    return {
        "text_offset": offsets,
        "token_logprobs": [tokens[0][1] for tokens in ranked],
        "tokens": [step.token for step in steps],
        "top_logprobs": [dict(tokens[:count]) if count else None for tokens in ranked],
    }
