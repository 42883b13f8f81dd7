"""Workers behind a Kubernetes service: its EndpointSlices, listed and then watched.

Source: Kubernetes API, discovery.k8s.io/v1 EndpointSlice, and "Efficient detection of changes":
list, then watch from the list's resourceVersion; 410 Gone means list again.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import httpx
import orjson
from pydantic import Field

from entroute.addresses import HttpUrl
from entroute.backends.discovery.finding import Called, Found
from entroute.backends.discovery.slices import Slices
from entroute.errors import DiscoveryFailed

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_ANSWER_S = 10.0  # to a list, and to the head of a watch
_PAUSE_S = 0.5  # before the next list, so that a server that ends watches at once is not flooded
_MAX_LINE = 4 * 1024 * 1024  # bytes of one event


class KubernetesDiscovery(Called):
    """One worker a ready endpoint of a service."""

    kind: Literal["kubernetes"] = "kubernetes"
    service: str = Field(max_length=63, pattern=_NAME, description="Name of the service.")
    namespace: str | None = Field(
        default=None,
        max_length=63,
        pattern=_NAME,
        description="Namespace of the service; the gateway's own when left out.",
    )
    port: int | str | None = Field(
        default=None,
        description="Port of the endpoints, by number or by name; their first when left out.",
    )
    api: HttpUrl = Field(
        default="https://kubernetes.default.svc", description="Address of the API server."
    )
    token_file: Path = Field(
        default=_ACCOUNT / "token", description="Holds the bearer token; read at each request."
    )
    ca_file: Path = Field(
        default=_ACCOUNT / "ca.crt", description="Holds the API server's certificate authority."
    )
    watch_s: float = Field(
        default=300.0, ge=1, description="Seconds after which a watch begins anew."
    )

    @property
    def place(self) -> str:
        """What is asked, in words."""
        return f"service {self.namespace or '(own namespace)'}/{self.service}"

    def build(self) -> "KubernetesFinding":
        """Return what finds them."""
        return KubernetesFinding(self)


class KubernetesFinding:
    """Lists a service's endpoints, then watches them. See `Finding`.

    Args:
        settings: Which service, and where its API server is.
    """

    def __init__(self, settings: KubernetesDiscovery) -> None:
        self._settings = settings

    async def found(self) -> AsyncGenerator[Found, None]:
        """Yield the ready workers now and at each change."""
        async with self._client() as client:
            while True:
                slices = Slices(self._settings.port, self._settings.url)
                version = slices.listed(await self._list(client))
                yield slices.urls
                async for event in self._watch(client, version):
                    if slices.gone(event):
                        break
                    slices.changed(event)
                    yield slices.urls
                await asyncio.sleep(_PAUSE_S)

    @asynccontextmanager
    async def _client(self) -> AsyncGenerator[httpx.AsyncClient]:
        how = self._settings
        verify: ssl.SSLContext | bool = True
        if how.api.startswith("https://"):
            try:
                verify = ssl.create_default_context(cafile=how.ca_file)
            except OSError as error:
                raise DiscoveryFailed(f"{how.ca_file}: {error.strerror or error}") from error
        limits = httpx.Timeout(_ANSWER_S, read=how.watch_s + _ANSWER_S)
        async with httpx.AsyncClient(trust_env=False, verify=verify, timeout=limits) as client:
            yield client

    def _request(self, client: httpx.AsyncClient, query: Mapping[str, str]) -> httpx.Request:
        how = self._settings
        namespace = how.namespace or _read(how.token_file.with_name("namespace"))
        selector = {"labelSelector": f"kubernetes.io/service-name={how.service}"}
        return client.build_request(
            "GET",
            f"{how.api}/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
            params={**selector, **query},
            headers={"authorization": f"Bearer {_read(how.token_file)}"},
        )

    async def _list(self, client: httpx.AsyncClient) -> Any:
        try:
            request = self._request(client, {})
            request.extensions["timeout"]["read"] = _ANSWER_S
            return orjson.loads(_good(await client.send(request)).content)
        except httpx.HTTPError as error:
            raise self._failed(error) from error
        except orjson.JSONDecodeError as error:
            raise DiscoveryFailed(f"{self._settings.api}: no JSON") from error

    async def _watch(self, client: httpx.AsyncClient, version: str) -> AsyncGenerator[Any, None]:
        """Yield events until the server ends the watch, as it does after `watch_s`."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(max(1, round(self._settings.watch_s))),
        }
        response = None
        try:
            response = await client.send(self._request(client, query), stream=True)
            _good(response)
            buffer = b""
            async for data in response.aiter_bytes():
                *lines, buffer = (buffer + data).split(b"\n")
                if len(buffer) > _MAX_LINE:
                    raise DiscoveryFailed(f"{self._settings.api}: an event is too large")
                for line in lines:
                    yield orjson.loads(line)
        except httpx.HTTPError as error:
            raise self._failed(error) from error
        except orjson.JSONDecodeError as error:
            raise DiscoveryFailed(f"{self._settings.api}: no JSON") from error
        finally:
            if response is not None:
                await response.aclose()

    def _failed(self, error: httpx.HTTPError) -> DiscoveryFailed:
        return DiscoveryFailed(f"{self._settings.api}: {type(error).__name__} {error}".rstrip())


def _good(response: httpx.Response) -> httpx.Response:
    """Return an answer that says 200.

    Raises:
        DiscoveryFailed: It says something else.
    """
    status = response.status_code
    if status in {401, 403}:
        raise DiscoveryFailed(
            f"{response.url.host} answered {status}: the service account needs list and watch on "
            "endpointslices (discovery.k8s.io) in the service's namespace"
        )
    if status != httpx.codes.OK:
        raise DiscoveryFailed(f"{response.url.host} answered {status}")
    return response


def _read(path: Path) -> str:
    """Return what a small file holds.

    Raises:
        DiscoveryFailed: It cannot be read.
    """
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError) as error:
        raise DiscoveryFailed(f"{path}: cannot be read: {error}") from error
