"""The endpoints of a fake worker: vLLM's, and those that script and inspect it."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from loadtest import wire
from loadtest.answering import Answering
from loadtest.asking import Ask, Refused, read_chat, read_text
from loadtest.describing import Describer
from loadtest.embedding import Embedding, read_inputs
from loadtest.engine import Engine
from loadtest.http1 import Exchange, Request
from loadtest.reading import revised
from loadtest.script import Script
from loadtest.sent import SentJournal
from loadtest.telling import Telling
from loadtest.worker_metrics import CONTENT_TYPE, exposition

_KEPT_REQUESTS = 1000
_READERS: dict[str, Callable[[Mapping[str, Any]], Ask]] = {
    "/v1/chat/completions": read_chat,
    "/v1/completions": read_text,
}
_EMBEDDINGS = "/v1/embeddings"
_PATHS = {*_READERS, _EMBEDDINGS, "/v1/models", "/health", "/metrics", "/version", "/fake/script"}
_PATHS |= {"/fake/requests"}


@dataclass(frozen=True, slots=True)
class Served:
    """What the worker says it serves; `max_model_len` in tokens of prompt plus answer.

    `name` is this process's in answers that describe themselves.
    """

    models: tuple[str, ...]
    api_key: str | None
    max_model_len: int
    name: str


class WorkerApp:
    """Answers requests as a vLLM server of one script."""

    def __init__(
        self, served: Served, script: Script, max_running: int, journal: SentJournal
    ) -> None:
        self._served = served
        self._engine = Engine(script, max_running)
        telling = Telling(Describer(served.name), journal)
        self._answering = Answering(self._engine, served.models, served.max_model_len, telling)
        self._embedding = Embedding(self._engine, served.models, served.max_model_len)
        self._received: deque[dict[str, Any]] = deque(maxlen=_KEPT_REQUESTS)
        self._started = int(time.time())

    async def handle(self, request: Request, exchange: Exchange) -> None:
        """Answer one request; refusals get vLLM's body."""
        try:
            self._authorise(request)
            reader = _READERS.get(request.path)
            if request.method == "POST" and request.path in {*_READERS, _EMBEDDINGS}:
                body = _object(request.body)
                self._received.append(
                    {"path": request.path, "headers": request.headers, "body": body}
                )
                if reader is None:
                    await self._embedding.answer(read_inputs(body), exchange)
                else:
                    await self._answering.answer(reader(body), exchange)
            else:
                self._inspect(request, exchange)
        except Refused as refusal:
            exchange.send(
                refusal.status,
                wire.error(refusal.status, refusal.kind, refusal.message, refusal.param),
            )

    def _authorise(self, request: Request) -> None:
        key = self._served.api_key
        if key is None or not request.path.startswith("/v1"):
            return
        if request.headers.get("authorization") != f"Bearer {key}":
            raise Refused(401, "Unauthorized", "Unauthorized")

    def _inspect(self, request: Request, exchange: Exchange) -> None:
        match request.method, request.path:
            case "GET", "/health":
                exchange.send(200 if self._engine.script.healthy else 503, b"")
            case "GET", "/metrics" if not self._engine.script.metrics:
                raise Refused(500, "InternalServerError", "no metrics")
            case "GET", "/metrics":
                body = exposition(
                    self._engine.counters, self._served.models[0], 4 * self._served.max_model_len
                )
                exchange.send(200, body, {"content-type": CONTENT_TYPE})
            case "GET", "/v1/models":
                exchange.send(200, self._models())
            case "GET", "/version":
                exchange.send(200, orjson.dumps({"version": "0.0.0+fake"}))
            case "POST", "/fake/script":
                exchange.send(200, self._rescript(request.body))
            case "GET", "/fake/requests":
                exchange.send(200, orjson.dumps({"requests": list(self._received)}))
            case "DELETE", "/fake/requests":
                self._received.clear()
                exchange.send(200, b"{}")
            case _:
                self._no_such_endpoint(request)

    def _no_such_endpoint(self, request: Request) -> None:
        if request.path in _PATHS:
            raise Refused(405, "MethodNotAllowed", "Method Not Allowed")
        raise Refused(404, "NotFoundError", "Not Found")

    def _rescript(self, body: bytes) -> bytes:
        try:
            self._engine.follow(revised(self._engine.script, _object(body)))
        except ValueError as error:
            raise Refused(400, "BadRequestError", str(error)) from error
        return b"{}"

    def _models(self) -> bytes:
        shared = {"object": "model", "created": self._started, "owned_by": "vllm"}
        data = [
            {"id": name, **shared, "root": name, "max_model_len": self._served.max_model_len}
            for name in self._served.models
        ]
        return orjson.dumps({"object": "list", "data": data})


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(400, "BadRequestError", f"the body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise Refused(400, "BadRequestError", "the body must be a JSON object")
    return value
