"""A fake worker's embeddings: unit vectors made from a hash of what is embedded.

The same input gives the same vector on every worker, so that answers can be compared.
"""

import asyncio
import base64
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import Any

import orjson

from loadtest.answering import failed_at_once
from loadtest.asking import Refused
from loadtest.engine import Engine
from loadtest.failures import Failure
from loadtest.http1 import Exchange


@dataclass(frozen=True, slots=True)
class Inputs:
    """An embeddings request, checked: texts, token lists as text."""

    model: str
    texts: tuple[str, ...]
    dimensions: int | None
    base64: bool


def read_inputs(body: Mapping[str, Any]) -> Inputs:
    """Read the body of /v1/embeddings.

    Raises:
        Refused: a field does not fit.
    """
    given: Any = body.get("input")
    single = isinstance(given, str) or (bool(given) and isinstance(given[0], int))
    dimensions = body.get("dimensions")
    return Inputs(
        model=str(body.get("model")),
        texts=tuple(_text(one) for one in ([given] if single else given or ())),
        dimensions=dimensions if isinstance(dimensions, int) else None,
        base64=body.get("encoding_format") == "base64",
    )


class Embedding:
    """Answers embeddings requests at the pace of the script's first token."""

    def __init__(self, engine: Engine, models: tuple[str, ...], max_model_len: int) -> None:
        self._engine = engine
        self._models = models
        self._max_model_len = max_model_len

    async def answer(self, inputs: Inputs, exchange: Exchange) -> None:
        """Answer, or fail as the script says.

        Raises:
            Refused: the model is unknown, or there is nothing to embed or too much.
        """
        failure = self._engine.failing.next()
        if failure is not None and await failed_at_once(failure, exchange):
            return
        tokens = [len(text.split()) for text in inputs.texts]
        self._check(inputs, tokens)
        async with self._engine.slot(sum(tokens), 0):
            await asyncio.sleep(self._engine.script.ttft_ms / 1000)
            body = self._body(inputs, sum(tokens))
            if failure is None:
                exchange.send(200, body)
            else:
                await _break_off(failure, body, exchange)

    def _check(self, inputs: Inputs, tokens: list[int]) -> None:
        if inputs.model not in self._models:
            message = f"The model `{inputs.model}` does not exist."
            raise Refused(404, "NotFoundError", message, "model")
        if not tokens:
            raise Refused(400, "BadRequestError", "input must not be empty", "input")
        if max(tokens) > self._max_model_len:
            message = f"This model's maximum context length is {self._max_model_len} tokens."
            raise Refused(400, "BadRequestError", message, "input")

    def _body(self, inputs: Inputs, tokens: int) -> bytes:
        how = self._engine.script.vectors
        length = inputs.dimensions or how.dimensions
        packed = inputs.base64 and how.base64
        data = [
            {"object": "embedding", "index": place, "embedding": _packed(v) if packed else v}
            for place, v in enumerate(unit_vector(text, length) for text in inputs.texts)
        ]
        body: dict[str, Any] = {"object": "list", "model": inputs.model, "data": data}
        if how.usage:
            body["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
        return orjson.dumps(body)


async def _break_off(failure: Failure, body: bytes, exchange: Exchange) -> None:
    half = body[: len(body) // 2]
    match failure.kind:
        case "reset":
            exchange.reset()
        case "stall":
            await asyncio.Event().wait()
        case "malformed":
            exchange.send(200, half)
        case "trickle":
            slow = exchange.dribbling(failure)
            slow.send(200, body)
            await slow.drain()
        case _:
            exchange.send(200, half, promised=len(body))
            exchange.close()


def unit_vector(text: str, dimensions: int) -> list[float]:
    """Return the vector of a text, of length 1 to the precision of float32."""
    digest = blake2b(text.encode(), digest_size=8).digest()
    rng = Random(int.from_bytes(digest))
    numbers = [rng.gauss(0, 1) for _ in range(dimensions)]
    norm = math.sqrt(sum(number * number for number in numbers))
    form = f"<{dimensions}f"
    return list(struct.unpack(form, struct.pack(form, *(number / norm for number in numbers))))


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _text(given: Any) -> str:
    if isinstance(given, list):
        return " ".join(f"<{token}>" for token in given)
    if not isinstance(given, str):
        raise Refused(400, "BadRequestError", "input must be text or token ids", "input")
    return given
