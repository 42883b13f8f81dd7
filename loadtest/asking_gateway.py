"""Asks a running gateway one prompt through one arm and keeps all it said about the answer."""

import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from loadtest.tasks import Prompt


@dataclass(frozen=True, slots=True)
class Arm:
    """A way to ask: the model named and the gateway's options sent."""

    model: str
    options: dict[str, Any] = field(default_factory=dict)


ARMS = {
    "small": Arm("small"),
    "large": Arm("large"),
    "auto": Arm("auto", {"strategy": "cascade"}),
    "auto-policy": Arm("auto"),
    "switch": Arm("auto", {"strategy": "entropy_switch"}),
    "random": Arm("auto", {"strategy": "random_switch"}),
    "votes": Arm("auto", {"strategy": "self_consistency"}),
}


@dataclass(frozen=True, slots=True)
class Manner:
    """How every prompt is asked; `max_tokens` bounds the delivered answer."""

    gateway: str
    max_tokens: int
    cache: str
    api_key: str | None = None


async def ask(
    session: aiohttp.ClientSession, manner: Manner, arm: Arm, prompt: Prompt
) -> dict[str, Any]:
    """Ask once at temperature 0 and return what came back; a failure is told under `error`.

    `latency_s` is the time to the whole answer in seconds.
    """
    body = {
        "model": arm.model,
        "messages": [{"role": "user", "content": prompt.message}],
        "temperature": 0,
        "max_tokens": manner.max_tokens,
        "entroute": {"cache": manner.cache, "explain": True, **arm.options},
    }
    url = f"{manner.gateway.rstrip('/')}/v1/chat/completions"
    headers = {"authorization": f"Bearer {manner.api_key}"} if manner.api_key else {}
    started = time.perf_counter()
    try:
        async with session.post(url, json=body, headers=headers) as answer:
            content = await answer.json()
            kept = {name: answer.headers.get(f"x-entroute-{name}") for name in _KEPT_HEADERS}
            status = answer.status
    except (aiohttp.ClientError, TimeoutError) as error:
        return {"error": f"{type(error).__name__}: {error}", "answer": ""}
    seconds = time.perf_counter() - started
    if status != 200:
        return {"error": f"{status}: {content}", "answer": "", **kept}
    return {**kept, **_said(content), "latency_s": seconds}


_KEPT_HEADERS = ("tier", "strategy", "cache", "difficulty", "calls", "degraded")


def _said(content: dict[str, Any]) -> dict[str, Any]:
    choice, told = content["choices"][0], content.get("entroute") or {}
    usage = content.get("usage") or {}
    return {
        "answer": choice["message"].get("content") or "",
        "finish_reason": choice["finish_reason"],
        "stop_reason": told.get("stop_reason"),
        "reason": (told.get("decision") or {}).get("reason") or told.get("reason"),
        "usage": usage.get("entroute"),
        "segments": told.get("segments"),
    }
