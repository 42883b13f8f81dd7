"""Workers that embed: texts or token lists to vectors, `POST /embeddings`."""

import binascii
import math
import struct
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from entroute.backends.errand import Errand
from entroute.backends.http_worker import HttpWorker
from entroute.backends.pool import WorkerPool
from entroute.backends.salting import salted
from entroute.backends.wire import usage_of
from entroute.errors import WorkerProtocolError
from entroute.priorities import ANYBODY, Turn
from entroute.spending import Usage

PATH = "/embeddings"

Input = str | tuple[int, ...]
"""One text, or one text as the ids of its tokens."""

Vector = list[float] | str
"""One embedding: numbers, or their little-endian float32 in base64."""

_FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class EmbeddingCall:
    """One upstream call.

    Attributes:
        inputs: What to embed, at least one.
        deadline: Monotonic seconds.
        base64: Whether vectors are wanted in base64.
        dimensions: Length that vectors must have, or None for the model's own.
        extra: Every other field, passed to the worker untouched.
        salt: Keeps a tenant's prefix cache apart from others', "" for none.
        turn: How urgent it is, and whose, where calls wait.
    """

    inputs: tuple[Input, ...]
    deadline: float
    base64: bool = False
    dimensions: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    salt: str = ""
    turn: Turn = ANYBODY


@dataclass(frozen=True, slots=True)
class Embedded:
    """What a worker answers to one call.

    Attributes:
        vectors: One an input, same order.
        usage: As the worker counted; partial, without a token, where it does not say.
    """

    vectors: tuple[Vector, ...]
    usage: Usage


class EmbeddingWorker(HttpWorker):
    """A client of one model server's embeddings. See `HttpWorker`."""

    async def embed(self, call: EmbeddingCall) -> Embedded:
        """Return the vectors of a call's inputs.

        Raises:
            WorkerError, WorkerRejected, DeadlineExceeded: As `HttpWorker.posted`.
        """
        body = body_of(call, self.model, self.engine)
        data = orjson.dumps(body, default=dict)
        payload = await self.whole(PATH, data, call.deadline, call.turn.headers)
        try:
            return embedded_of(payload, call)
        except (AttributeError, KeyError, TypeError, ValueError, struct.error) as error:
            detail = f"not OpenAI's wire format: {type(error).__name__} {error}"
            raise WorkerProtocolError(self.url, self.conceal.text(detail)) from None


class EmbeddingPool(WorkerPool[EmbeddingWorker]):
    """The workers of a tier that embeds. See `WorkerPool`."""

    async def embed(self, call: EmbeddingCall) -> Embedded:
        """Return the vectors of a call's inputs, from another worker where one fails."""
        errand: Errand[EmbeddingWorker] = Errand(call.deadline, turn=call.turn)
        return await self.asked(lambda worker: worker.embed(call), errand)


def body_of(call: EmbeddingCall, model: str, engine: str) -> dict[str, Any]:
    """Return the request body of one call."""
    body: dict[str, Any] = {**call.extra, "model": model, "input": call.inputs}
    body["encoding_format"] = "base64" if call.base64 else "float"
    if call.dimensions is not None:
        body["dimensions"] = call.dimensions
    return salted(body, call.salt, engine)


def embedded_of(payload: Mapping[str, Any], call: EmbeddingCall) -> Embedded:
    """Return what an answer holds, in the inputs' order and the form that was asked for.

    Raises:
        AttributeError, KeyError, TypeError, ValueError, struct.error: It is of another shape.
    """
    found = {int(item["index"]): item["embedding"] for item in payload["data"]}
    count = len(call.inputs)
    if len(payload["data"]) != count or found.keys() != set(range(count)):
        raise ValueError(f"{count} inputs were sent, {len(payload['data'])} vectors came")
    vectors = tuple(converted(found[place], base64=call.base64) for place in range(count))
    usage = usage_of(payload.get("usage")) or Usage(calls=1, partial_calls=1)
    return Embedded(vectors, usage)


def converted(vector: Any, *, base64: bool) -> Vector:
    """Return a vector as it was asked for, whichever form it came in.

    Raises:
        TypeError, ValueError, struct.error: It is no vector, or holds what JSON cannot say.
    """
    if not isinstance(vector, str | list) or not vector:
        raise TypeError(f"an embedding is a list of numbers, not {str(vector)[:40]!r}")
    if isinstance(vector, str):
        data = _decoded(vector)
        if base64:
            return vector
        vector = list(struct.unpack(f"<{len(data) // _FLOAT_BYTES}f", data))
    if not all(map(math.isfinite, vector)):
        raise ValueError("an embedding holds what is no finite number")
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() if base64 else vector


def length_of(vector: Vector) -> int:
    """Return how many numbers a vector has."""
    return len(_decoded(vector)) // _FLOAT_BYTES if isinstance(vector, str) else len(vector)


def _decoded(text: str) -> bytes:
    try:
        data = b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"an embedding is no base64: {error}") from error
    if not data or len(data) % _FLOAT_BYTES:
        raise ValueError(f"an embedding of {len(data)} bytes is no list of float32")
    return data
