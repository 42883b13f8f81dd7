"""Health sweeps: ask every worker which models it serves, again and again."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from entroute.backends.http_worker import HttpWorker
from entroute.backends.member import Member
from entroute.backends.worker_load import LoadReader
from entroute.protocols import Clock

_LOG = logging.getLogger(__name__)


class _Unhealthy(Exception):
    """A worker cannot be called; the message says why."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What a worker tells of itself: tokens it can hold (None if it does not say), its engine."""

    context_length: int | None
    engine: str


class SweptPool(Protocol):
    """A tier's workers as a sweep sees them."""

    @property
    def tier(self) -> str:
        """The tier's name."""
        ...

    @property
    def members(self) -> Sequence[Member[Any]]:
        """Its workers."""
        ...


class HealthSweeps:
    """Keeps every pool's health up to date in the background.

    A worker is healthy when `GET /v1/models` lists the tier's model. A worker that a call found
    dead is asked again at the next sweep, not before. One that is healthy is asked for its load.

    Args:
        pools: All pools.
        client: HTTP client; speed does not matter here.
        clock: Monotonic seconds.
        interval_s: Seconds between sweeps, above 0.
        timeout_s: Seconds a worker has to answer, above 0.
    """

    def __init__(
        self,
        pools: Sequence[SweptPool],
        client: httpx.AsyncClient,
        clock: Clock,
        *,
        interval_s: float,
        timeout_s: float,
    ) -> None:
        self._pools = pools
        self._client = client
        self._clock = clock
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._loads = LoadReader(client, clock, timeout_s=timeout_s)
        self._task: asyncio.Task[None] | None = None
        self.swept_at: float | None = None

    @property
    def age_s(self) -> float:
        """Seconds since the last sweep, infinite before the first."""
        return float("inf") if self.swept_at is None else self._clock() - self.swept_at

    async def start(self) -> None:
        """Sweep once, then keep sweeping in the background."""
        await self.sweep()
        self._task = asyncio.create_task(self._forever(), name="health-sweeps")

    async def stop(self) -> None:
        """End the background sweeps."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def sweep(self) -> None:
        """Ask every worker once, all at the same time."""
        await asyncio.gather(*(self.ask(m, p.tier) for p in self._pools for m in p.members))
        self.swept_at = self._clock()

    async def _forever(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await self.sweep()
            except Exception:  # noqa: BLE001 - one odd answer must not end all later sweeps
                _LOG.exception("a health sweep failed; the next one follows")

    async def ask(self, member: Member[Any], tier: str) -> None:
        """Ask one worker of a tier."""
        detail = ""
        try:
            told = await self._question(member)
        except _Unhealthy as unhealthy:
            detail = member.worker.conceal.text(str(unhealthy))
        else:
            member.context_length = told.context_length or member.context_length
            member.worker.engine = told.engine
        if bool(detail) == member.healthy:
            level = logging.WARNING if detail else logging.INFO
            _LOG.log(
                level, "worker %s of tier %s: %s", member.worker.url, tier, detail or "healthy"
            )
        member.found(detail, again_s=self._interval_s)
        if detail:
            member.load = None
        else:
            await self._loads.read(member)

    async def _question(self, member: Member[HttpWorker]) -> _Told:
        """Return what a worker tells of itself.

        Raises:
            _Unhealthy: It cannot be called; the message says why.
        """
        worker = member.worker
        try:
            response = await self._client.get(
                f"{worker.url}/models", headers=worker.headers, timeout=self._timeout_s
            )
            response.raise_for_status()
            served = {str(model["id"]): _told(model) for model in response.json()["data"]}
        except httpx.HTTPError as error:
            detail = f"{worker.url}/models: {type(error).__name__} {error}".rstrip()
            raise _Unhealthy(detail) from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _Unhealthy(f"{worker.url}/models is no OpenAI model list") from error
        if worker.model not in served:
            raise _Unhealthy(f"{worker.url} serves {sorted(served)}, not '{worker.model}'")
        return served[worker.model]


def _told(model: Mapping[str, Any]) -> _Told:
    """Read one entry of a model list: vLLM tells `max_model_len`, llama.cpp `meta.n_ctx`."""
    length = model.get("max_model_len") or (model.get("meta") or {}).get("n_ctx")
    return _Told(length if isinstance(length, int) else None, str(model.get("owned_by", "")))
