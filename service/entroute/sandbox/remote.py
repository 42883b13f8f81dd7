"""Runs programs on a sandbox server, see `entroute.sandbox.server`."""

import asyncio
from dataclasses import dataclass
from typing import Literal

import httpx
import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from entroute.addresses import BearerKey, HttpUrl
from entroute.bodies import AS_IT_IS, Concealing, read_body
from entroute.errors import ConfigurationError, SandboxUnavailable
from entroute.execution import Execution, Repeat
from entroute.sandbox.wire import EXECUTION, encode_request

_BUSY = 503
_WRONG_KEY = 401
_QUOTED = 200
_MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""Above the largest output that a server can be told to keep, 4 MiB, every byte escaped."""
_TRIAL, _TRIED, _TRIAL_S = "print(6 * 7)", "42\n", 10.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a server said: status and body."""

    status: int
    body: bytes
    conceal: Concealing

    @property
    def words(self) -> str:
        """How the body begins, without the key that the server was sent."""
        return self.conceal.bytes(self.body)[:_QUOTED].decode(errors="replace")


class RemoteSandbox:
    """A sandbox server, spoken to over HTTP; a cancelled run closes its connection.

    Args:
        config: Where it is and how long to wait.
    """

    def __init__(self, config: "RemoteConfig") -> None:
        key = config.api_key
        headers = {} if key is None else {"authorization": f"Bearer {key.get_secret_value()}"}
        self._config = config
        self._conceal = Concealing("" if key is None else key.get_secret_value())
        # The environment is not trusted: a proxy has no business between gateway and sandbox.
        self._client = httpx.AsyncClient(
            base_url=config.url,
            headers={**headers, **AS_IT_IS, "content-type": "application/json"},
            limits=httpx.Limits(max_connections=config.max_connections),
            trust_env=False,
        )

    async def start(self) -> None:
        """Check that the server is there, takes the key and runs a program.

        A server without room right now passes: it says so itself to every run.

        Raises:
            ConfigurationError: It does not; the message says what to do.
        """
        try:
            answer = await self._post(_TRIAL, "", _TRIAL_S)
        except SandboxUnavailable as error:
            raise ConfigurationError(
                f"sandbox.url: {error}; start `entroute sandbox` there, or correct the address"
            ) from error
        if answer.status == _WRONG_KEY:
            raise ConfigurationError("sandbox.api_key: the sandbox server refuses it")
        if answer.status == _BUSY:
            _log.warning("sandbox_not_tried", url=self._config.url, reason=answer.words)
            return
        self._check(answer)

    async def run(
        self, source: str, *, stdin: str = "", wall_s: float = 10.0, repeat: Repeat | None = None
    ) -> Execution:
        """Run a program. See `Sandbox.run`."""
        answer = await self._post(source, stdin, wall_s)
        if answer.status != httpx.codes.OK:
            raise SandboxUnavailable(f"the sandbox server answered {answer.status}: {answer.words}")
        try:
            return EXECUTION.validate_json(answer.body)
        except ValidationError as error:
            raise SandboxUnavailable("the sandbox server's answer is no execution") from error

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def _check(self, answer: _Answer) -> None:
        """Raise ConfigurationError unless the trial program was run."""
        url = self._config.url
        if answer.status != httpx.codes.OK:
            raise ConfigurationError(
                f"sandbox.url: {url} answered {answer.status} and is no sandbox"
            )
        try:
            run = EXECUTION.validate_json(answer.body)
        except ValidationError as error:
            raise ConfigurationError(
                f"sandbox.url: {url} answered something else than a run and is no sandbox"
            ) from error
        if (run.status, run.stdout) != ("ok", _TRIED):
            said = self._conceal.text(run.error or run.stdout)[:_QUOTED]
            raise ConfigurationError(f"sandbox.url: {url} could not run `{_TRIAL}` ({said})")

    async def _post(self, source: str, stdin: str, wall_s: float) -> _Answer:
        config = self._config
        limit_s = config.connect_s + wall_s + config.queue_s
        try:
            # httpx limits every read, not their sum: a server may send a byte now and then.
            async with asyncio.timeout(limit_s):
                return await self._answered(encode_request(source, stdin, wall_s), limit_s)
        except TimeoutError as error:
            raise SandboxUnavailable(f"{config.url} did not answer in {limit_s:g} s") from error
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise SandboxUnavailable(f"{config.url} cannot be reached ({reason})") from error

    async def _answered(self, body: bytes, limit_s: float) -> _Answer:
        timeout = httpx.Timeout(limit_s, connect=self._config.connect_s)
        async with self._client.stream("POST", "/run", content=body, timeout=timeout) as response:
            try:
                body = await read_body(response, _MAX_ANSWER_BYTES)
            except ValueError as error:
                raise SandboxUnavailable("the sandbox server's answer is too large") from error
            return _Answer(response.status_code, body, self._conceal)


class RemoteConfig(BaseModel):
    """Programs that models wrote run on a sandbox server."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    kind: Literal["http"] = Field("http", description="Run programs on a sandbox server.")
    url: HttpUrl = Field(description="Base address of the server, such as http://sandbox:8090.")
    api_key: BearerKey | None = Field(
        None, description="Bearer key of the server; give it in the environment, not in the file."
    )
    connect_s: float = Field(2.0, gt=0, le=60, description="Seconds a connection may take.")
    queue_s: float = Field(
        10.0, gt=0, le=600, description="Seconds, besides a program's own, to wait for its result."
    )
    max_connections: int = Field(64, ge=1, le=10_000, description="Programs under way at once.")

    def build(self) -> RemoteSandbox:
        """Return the client; it connects in `start`."""
        return RemoteSandbox(self)
