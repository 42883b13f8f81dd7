"""What the bench compares: the same question sent straight to a worker and through a gateway."""

from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from loadtest.client import Target

_PATH = "/v1/chat/completions"
_QUESTION = "Tell me about number {number}. " + "The story so far is long and winding. " * 25
TIERS = {"small": "bench-small", "large": "bench-large"}


@dataclass(frozen=True, slots=True)
class Mode:
    """One way to ask; `expected` are answer headers that prove the way was taken.

    With `fresh`, every request asks something new; else all ask the same.
    """

    name: str
    model: str
    direct: bool = False
    options: dict[str, str] = field(default_factory=dict)
    expected: dict[str, str] = field(default_factory=dict)
    fresh: bool = True

    def target(self, worker: str, gateway: str, body: dict[str, Any], salt: str) -> Target:
        """Return where and what to send; `salt` keeps runs from asking each other's questions."""
        encoded = orjson.dumps(
            {
                "model": self.model,
                "messages": [{"role": "user", "content": _QUESTION.format(number="@@@@@@@@@@@@")}],
                "temperature": 0,
                **body,
            }
        )
        before, _, after = encoded.partition(b"@@@@@@@@@@@@")

        def one(index: int) -> bytes:
            number = f"{self.name}-{salt}-{index}" if self.fresh else "zero"
            return before + number.encode() + after

        url = (worker if self.direct else gateway) + _PATH
        return Target(url, one, tuple(self.options.items()))


_BYPASS = {"x-entroute-cache": "bypass"}
DIRECT = Mode("direct", TIERS["small"], direct=True)
PINNED = Mode("pinned tier", "small", options=_BYPASS, expected={"x-entroute-tier": "small"})
CASCADE = Mode(
    "auto, cascade",
    "auto",
    options={**_BYPASS, "x-entroute-strategy": "cascade"},
    expected={"x-entroute-tier": "small", "x-entroute-strategy": "cascade"},
)
MISS = Mode("pinned, cache miss", "small", expected={"x-entroute-cache": "miss"})
HIT = Mode("exact cache hit", "small", expected={"x-entroute-cache": "exact"}, fresh=False)
WHOLE = (DIRECT, PINNED, CASCADE, MISS, HIT)
STREAMED = (DIRECT, PINNED, CASCADE)


async def check_mode(mode: Mode, target: Target) -> None:
    """Ask twice and see that the second answer was made in the way measured.

    Raises:
        RuntimeError: the status or a header is another; the message says which.
    """
    headers = {"content-type": "application/json", **dict(target.headers)}
    async with aiohttp.ClientSession(headers=headers) as session:
        for index in range(2):
            async with session.post(target.url, data=target.body(index)) as answer:
                text = await answer.text()
                told = {name: answer.headers.get(name) for name in mode.expected}
                if answer.status != 200:
                    raise RuntimeError(f"{mode.name}: status {answer.status}: {text[:500]}")
    if told != mode.expected:
        raise RuntimeError(f"{mode.name}: the headers say {told}, not {mode.expected}")
