"""The part of a Kubernetes API server that tells EndpointSlices: list and watch."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import web

TOKEN = "a-service-account-token"


def endpoint(*addresses: str, **conditions: bool | None) -> dict[str, Any]:
    """Return one endpoint of a slice."""
    return {"addresses": list(addresses), "conditions": dict(conditions)}


def a_slice(
    name: str, port: int, *endpoints: Mapping[str, Any], port_name: str = "http"
) -> dict[str, Any]:
    """Return one EndpointSlice as the API tells it."""
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": "vllm"}},
        "addressType": "IPv4",
        "endpoints": list(endpoints),
        "ports": [{"name": port_name, "port": port, "protocol": "TCP"}],
    }


class Api:
    """What the server holds, and whom it has told.

    Attributes:
        url: Its address.
        token: What clients must send.
        lists: Lists it was asked for.
        watches: Versions that watches began from.
        answer: A status it answers everything with in place of an answer, None for none.
    """

    def __init__(self) -> None:
        self.url = ""
        self.token = TOKEN
        self.lists = 0
        self.watches: list[str] = []
        self.answer: int | None = None
        self._version = 1
        self._slices: dict[str, dict[str, Any]] = {}
        self._listeners: set[asyncio.Queue[dict[str, Any] | None]] = set()

    @property
    def watching(self) -> int:
        """How many watch now."""
        return len(self._listeners)

    def put(self, *slices: dict[str, Any]) -> None:
        """Add slices, or change those of the same names; tell who watches."""
        for one in slices:
            name = one["metadata"]["name"]
            self._tell("MODIFIED" if name in self._slices else "ADDED", one)
            self._slices[name] = one

    def delete(self, name: str) -> None:
        """Take a slice away."""
        self._tell("DELETED", self._slices.pop(name))

    def expire(self) -> None:
        """Tell who watches that its version is too old."""
        status = {"kind": "Status", "code": 410, "message": "too old resource version"}
        self._tell("ERROR", status)
        self.hang_up()

    def hang_up(self) -> None:
        """End every watch."""
        for listener in self._listeners:
            listener.put_nowait(None)

    def _tell(self, kind: str, what: dict[str, Any]) -> None:
        self._version += 1
        for listener in self._listeners:
            listener.put_nowait({"type": kind, "object": what})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a list or a watch."""
        if self.answer is not None:
            return web.json_response({"kind": "Status"}, status=self.answer)
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return web.json_response({"kind": "Status"}, status=401)
        if request.query.get("labelSelector") != "kubernetes.io/service-name=vllm":
            return web.json_response({"items": [], "metadata": {"resourceVersion": "1"}})
        if "watch" in request.query:
            return await self._watched(request)
        self.lists += 1
        metadata = {"resourceVersion": str(self._version)}
        items: Sequence[dict[str, Any]] = list(self._slices.values())
        return web.json_response({"metadata": metadata, "items": items})

    async def _watched(self, request: web.Request) -> web.StreamResponse:
        self.watches.append(request.query["resourceVersion"])
        events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._listeners.add(events)
        response = web.StreamResponse(headers={"content-type": "application/json"})
        await response.prepare(request)
        try:
            while (event := await events.get()) is not None:
                await response.write(orjson.dumps(event) + b"\n")
        finally:
            self._listeners.discard(events)
        return response


@asynccontextmanager
async def kubernetes_api(context: ssl.SSLContext | None = None) -> AsyncIterator[Api]:
    """Serve the API on a free port, with TLS where a context is given."""
    api = Api()
    app = web.Application()
    path = "/apis/discovery.k8s.io/v1/namespaces/models/endpointslices"
    app.router.add_get(path, api.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    api.url = f"http{'s' if context else ''}://127.0.0.1:{port}"
    try:
        yield api
    finally:
        api.hang_up()
        await runner.cleanup()
