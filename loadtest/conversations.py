"""Conversations of several turns, each with instructions of its own, held with a gateway."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import aiohttp

TIER = "small"
_VOCABULARY = (
    "time year people way day man thing woman life child world school state family student group "
    "country problem hand part place case week company system program question work number night "
    "point home water room mother area money story fact month lot right study book eye job word "
    "business issue side kind head house service friend father power hour game line end member law"
)


@dataclass(frozen=True, slots=True)
class Workload:
    """What is asked.

    Attributes:
        conversations: How many, each with instructions of its own.
        turns: Of each.
        words: Least and most words of instructions; about as many tokens.
        max_tokens: Of an answer.
        concurrency: Requests in flight.
    """

    conversations: int = 24
    turns: int = 4
    words: tuple[int, int] = (250, 500)
    max_tokens: int = 12
    concurrency: int = 4


@dataclass(slots=True)
class Heard:
    """What clients heard.

    Attributes:
        ttfts: Seconds to the first piece, a request an entry.
        errors: Requests without a whole answer.
    """

    ttfts: list[float] = field(default_factory=list)
    errors: int = 0


def text(rng: Random, words: int) -> str:
    """Return so many random words."""
    return " ".join(rng.choices(_VOCABULARY.split(), k=words))


class Conversations:
    """Holds conversations with a gateway.

    Args:
        session: Connections.
        url: The gateway's address, no path.
        workload: What is asked.
        rng: Draws all texts and orders.
    """

    def __init__(
        self, session: aiohttp.ClientSession, url: str, workload: Workload, rng: Random
    ) -> None:
        self._session = session
        self._url = url
        self._workload = workload
        self._rng = rng
        self._heard = Heard()
        self._chats: list[list[dict[str, str]]] = [
            [{"role": "system", "content": text(rng, rng.randint(*workload.words))}]
            for _ in range(workload.conversations)
        ]

    async def held(self) -> Heard:
        """Hold all, a turn of each in random order before the next turn of any."""
        gate = asyncio.Semaphore(self._workload.concurrency)

        async def one(chat: list[dict[str, str]], asked: str) -> None:
            async with gate:
                chat.append({"role": "user", "content": asked})
                chat.append({"role": "assistant", "content": await self._asked(chat)})

        for _ in range(self._workload.turns):
            order = self._rng.sample(self._chats, len(self._chats))
            await asyncio.gather(*(one(chat, text(self._rng, 20)) for chat in order))
        return self._heard

    async def _asked(self, chat: Sequence[Mapping[str, str]]) -> str:
        """Return the answer to a conversation, what came of it where it broke off.

        Raises:
            ValueError: the gateway refused; the message holds its words.
        """
        body = {
            "model": TIER,
            "messages": chat,
            "max_tokens": self._workload.max_tokens,
            "temperature": 0,
            "stream": True,
        }
        headers = {"x-entroute-cache": "bypass"}
        since, pieces, done = time.perf_counter(), list[str](), False
        async with self._session.post(
            f"{self._url}/v1/chat/completions", json=body, headers=headers
        ) as answer:
            if answer.status != 200:
                raise ValueError(f"the gateway answered {answer.status}: {await answer.text()}")
            async for line in answer.content:
                done = done or line.strip() == b"data: [DONE]"
                piece = _content(line)
                if piece and not pieces:
                    self._heard.ttfts.append(time.perf_counter() - since)
                pieces.append(piece)
        self._heard.errors += not done
        return "".join(pieces)


def _content(line: bytes) -> str:
    """Return the text that one line of a stream carries."""
    if not line.startswith(b"data: {"):
        return ""
    choices = json.loads(line.removeprefix(b"data: ")).get("choices") or [{}]
    return str(choices[0].get("delta", {}).get("content") or "")
