"""Runs programs on a sandbox server, see `entroute.sandbox.server`."""

from typing import Literal
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from entroute.errors import ConfigurationError, SandboxUnavailable
from entroute.execution import Execution
from entroute.sandbox.wire import EXECUTION, encode_request

_BUSY = 503
_WRONG_KEY = 401


class RemoteSandbox:
    """A sandbox server, spoken to over HTTP; a cancelled run closes its connection.

    Args:
        config: Where it is and how long to wait.
    """

    def __init__(self, config: "RemoteConfig") -> None:
        key = config.api_key
        headers = {} if key is None else {"authorization": f"Bearer {key.get_secret_value()}"}
        self._config = config
        # The environment is not trusted: a proxy has no business between gateway and sandbox.
        self._client = httpx.AsyncClient(
            base_url=config.url,
            headers={**headers, "content-type": "application/json"},
            limits=httpx.Limits(max_connections=config.max_connections),
            trust_env=False,
        )

    async def start(self) -> None:
        """Check that the server is there and takes the key.

        Raises:
            ConfigurationError: It does not; the message says what to do.
        """
        try:
            answer = await self._post("pass", "", self._config.connect_s)
        except SandboxUnavailable as error:
            raise ConfigurationError(
                f"sandbox.url: {error}; start `entroute sandbox` there, or correct the address"
            ) from error
        if answer.status_code == _WRONG_KEY:
            raise ConfigurationError("sandbox.api_key: the sandbox server refuses it")
        if answer.status_code not in (httpx.codes.OK, _BUSY):
            raise ConfigurationError(
                f"sandbox.url: {self._config.url} answered {answer.status_code} and is no sandbox"
            )

    async def run(self, source: str, *, stdin: str = "", wall_s: float = 10.0) -> Execution:
        """Run a program. See `Sandbox.run`."""
        answer = await self._post(source, stdin, wall_s)
        if answer.status_code != httpx.codes.OK:
            raise SandboxUnavailable(
                f"the sandbox server answered {answer.status_code}: {answer.text[:200]}"
            )
        try:
            return EXECUTION.validate_json(answer.content)
        except ValidationError as error:
            raise SandboxUnavailable("the sandbox server's answer is no execution") from error

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def _post(self, source: str, stdin: str, wall_s: float) -> httpx.Response:
        config = self._config
        wait_s = wall_s + config.queue_s
        try:
            return await self._client.post(
                "/run",
                content=encode_request(source, stdin, wall_s),
                timeout=httpx.Timeout(wait_s, connect=config.connect_s),
            )
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise SandboxUnavailable(f"{config.url} cannot be reached ({reason})") from error


class RemoteConfig(BaseModel):
    """Programs that models wrote run on a sandbox server."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    kind: Literal["http"] = Field("http", description="Run programs on a sandbox server.")
    url: str = Field(description="Base address of the server, such as http://sandbox:8090.")
    api_key: SecretStr | None = Field(
        None, description="Bearer key of the server; give it in the environment, not in the file."
    )
    connect_s: float = Field(2.0, gt=0, le=60, description="Seconds a connection may take.")
    queue_s: float = Field(
        10.0, gt=0, le=600, description="Seconds, besides a program's own, to wait for its result."
    )
    max_connections: int = Field(64, ge=1, le=10_000, description="Programs under way at once.")

    @field_validator("url")
    @classmethod
    def _understood(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ValueError("write http://HOST:PORT or https://HOST:PORT; the key goes in api_key")
        return url.rstrip("/")

    def build(self) -> RemoteSandbox:
        """Return the client; it connects in `start`."""
        return RemoteSandbox(self)
