"""Reads a generation request as vLLM does and says what must be generated for it.

It knows nothing about sockets or pace.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from loadtest.generation import Plan, plan
from loadtest.script import Answer, Script

MAX_LOGPROBS = 20
_COMPLETIONS_MAX_TOKENS = 16  # vLLM's default on /v1/completions


class Refused(Exception):  # rendered as an answer, with vLLM's type and status
    """The request is answered with an error status."""

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.param = param


@dataclass(frozen=True, slots=True)
class Ask:
    """A generation request, checked. Counts are tokens; `logprobs` None means not asked for."""

    endpoint: Literal["chat", "text"]
    model: str
    prompts: tuple[str, ...]
    last_user_message: str
    partial: str  # text of the answer to be continued, else empty
    n: int
    max_tokens: int | None
    stop: tuple[str, ...]
    logprobs: int | None
    stream: bool
    usage_at_end: bool
    usage_in_every_chunk: bool
    tools: bool
    echo: bool
    cache_salt: str

    def plans(self, script: Script, next_answer: Callable[[], Answer]) -> list[Plan]:
        """Plan every choice: n for each prompt."""
        return [
            plan(
                next_answer(),
                script.certainty,
                partial=self.partial,
                max_tokens=self.max_tokens,
                stop=self.stop,
            )
            for _ in range(self.n * len(self.prompts))
        ]


def read_chat(body: Mapping[str, Any]) -> Ask:
    """Read the body of /v1/chat/completions.

    Raises:
        Refused: a field does not fit.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages):
        raise _bad("messages must be a list of objects", "messages")
    wanted = body.get("logprobs") is True
    if body.get("top_logprobs") and not wanted:
        raise _bad("when using `top_logprobs`, `logprobs` must be set to true.", "top_logprobs")
    continued = body.get("continue_final_message") is True
    if continued and body.get("add_generation_prompt", True):
        raise _bad(
            "Cannot set both `continue_final_message` and `add_generation_prompt` to True.",
            "continue_final_message",
        )
    if continued and (not messages or messages[-1].get("role") != "assistant"):
        raise _bad("the final message must be the assistant's to continue it", "messages")
    users = [one for one in messages if one.get("role") == "user"]
    turns = "".join(f"<|{one.get('role')}|> {_text(one.get('content'))} " for one in messages)
    return Ask(
        endpoint="chat",
        prompts=(turns if continued else turns + "<|assistant|>",),
        last_user_message=_text(users[-1].get("content")) if users else "",
        partial=_text(messages[-1].get("content")) if continued else "",
        max_tokens=_count(body, "max_completion_tokens") or _count(body, "max_tokens"),
        logprobs=_limited(body, "top_logprobs") if wanted else None,
        tools=bool(body.get("tools")) and body.get("tool_choice") != "none",
        **_shared(body),
    )


def read_text(body: Mapping[str, Any]) -> Ask:
    """Read the body of /v1/completions.

    Raises:
        Refused: a field does not fit.
    """
    prompt: Any = body.get("prompt")
    several = isinstance(prompt, list) and bool(prompt) and not isinstance(prompt[0], int)
    prompts = tuple(_prompt(one) for one in (prompt if several else (prompt,)))
    max_tokens = _count(body, "max_tokens")
    return Ask(
        endpoint="text",
        prompts=prompts,
        last_user_message=prompts[-1],
        partial="",
        max_tokens=_COMPLETIONS_MAX_TOKENS if max_tokens is None else max_tokens,
        logprobs=None if body.get("logprobs") is None else _limited(body, "logprobs"),
        tools=False,
        **_shared(body),
    )


def _shared(body: Mapping[str, Any]) -> dict[str, Any]:
    options = body.get("stream_options") or {}
    stop = body.get("stop") or ()
    if options and not body.get("stream"):
        raise _bad("Stream options can only be defined when `stream=True`.", "stream_options")
    at_end = bool(options.get("include_usage"))
    return {
        "model": str(body.get("model")),
        "n": max(_count(body, "n") or 1, 1),
        "stop": (stop,) if isinstance(stop, str) else tuple(stop),
        "stream": bool(body.get("stream")),
        "usage_at_end": at_end,
        "usage_in_every_chunk": at_end and bool(options.get("continuous_usage_stats")),
        "echo": bool(body.get("echo")),
        "cache_salt": str(body.get("cache_salt") or ""),
    }


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", f"<{part.get('type')}>")) for part in content)
    return "" if content is None else str(content)


def _prompt(prompt: Any) -> str:
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, list) and prompt and all(isinstance(token, int) for token in prompt):
        return " ".join(f"<{token}>" for token in prompt)
    raise _bad("prompt must be text, token ids or a list of either", "prompt")


def _count(body: Mapping[str, Any], key: str) -> int | None:
    value = body.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _bad(f"{key} must be a whole number of at least 0, got {value!r}.", key)
    return value


def _limited(body: Mapping[str, Any], key: str) -> int:
    count = _count(body, key) or 0
    if count > MAX_LOGPROBS:
        raise _bad(
            f"Requested sample logprobs of {count}, which is greater than max allowed: "
            f"{MAX_LOGPROBS}",
            key,
        )
    return count


def _bad(message: str, param: str) -> Refused:
    return Refused(400, "BadRequestError", message, param)
