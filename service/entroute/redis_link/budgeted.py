"""A Redis that costs next to nothing while it is down or slow: one budget a call, then a pause."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

import structlog
from pydantic import AfterValidator, Field, SecretStr
from redis.asyncio import Redis

from entroute.errors import EntrouteError
from entroute.redis_link.addresses import FORMS, Kind, parsed_address
from entroute.redis_link.clients import Client, Limits, client
from entroute.redis_link.failures import FAILURES, RESULTS, Failure, Result, failure_of

MAX_CONNECTIONS = 64
"""Calls of one link at a time; a call beyond them waits for its turn within its own budget."""

PROBE_KEY = "entroute:probe"
"""Read to see whether Redis answers; never written."""

# One node of a cluster may be gone, and a part of all calls with it.
_FAILURES_TO_OPEN: Mapping[Kind, int] = {"server": 3, "sentinel": 3, "cluster": 10}
_WARM = (4, 16)  # least and most connections that stand before calls are let in again
_QUIET_S = 10.0  # without a refusal, after which Redis no longer refuses
_RENEW_S = 5.0  # between two looks for the server that took a replica's place

Ask = Callable[[Redis], Awaitable[Any]]
"""Sends commands and returns what is answered."""

_log = structlog.get_logger(__name__)


class RedisUnavailable(EntrouteError):
    """Redis failed, was too slow, refused, or failed a moment ago."""


class BudgetedRedis:
    """Asks a Redis within a budget.

    A call waits no longer than its budget, for whatever it needs. What it began goes on without it
    for `connect_timeout_s` at most: connections get ready although connecting takes longer than a
    call may wait, and one slow answer closes no connection. So a call that ran out of time may
    still be carried out, a little later.

    After a few failures in a row calls fail at once, while Redis is probed in the background until
    it answers in time and a few connections stand.

    Args:
        url: Address; see `entroute.redis_link.addresses`.
        timeout_s: Budget of one call, in seconds.
        clock: Monotonic seconds.
        probe_every_s: Seconds between two probes of a Redis that failed.
        connect_timeout_s: Budget of one probe: finding the server, connecting, logging in.

    Raises:
        ValueError: The address cannot be understood.
    """

    def __init__(
        self,
        url: str,
        timeout_s: float,
        clock: Callable[[], float],
        probe_every_s: float = 1.0,
        connect_timeout_s: float = 2.0,
    ) -> None:
        self._address = parsed_address(url)
        self._timeout_s = timeout_s
        self._clock = clock
        self._probe_every_s = probe_every_s
        self._outlive_s = max(connect_timeout_s, timeout_s)
        self._client: Client | None = None
        self._retiring: list[Client] = []
        self._renew_from = clock()
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)
        self._running: set[asyncio.Task[Any]] = set()
        self._counts: dict[Result, int] = dict.fromkeys(RESULTS, 0)
        self._up = True
        self._failures = 0
        self._up_since = clock()
        self._busiest = 0
        self._refusal: str | None = None
        self._refused_at = 0.0
        self.latency_s: float | None = None
        """Seconds that the last answered call took, None before the first."""

    @property
    def up(self) -> bool:
        """Whether calls are let through; a link that nobody has used counts as up."""
        return self._up

    @property
    def calls(self) -> Mapping[Result, int]:
        """Calls so far by what became of them."""
        return self._counts

    async def ask(self, ask: Ask, undo: Ask | None = None) -> Any:
        """Return what Redis answers.

        On a cluster all keys of a command, script or pipeline must have one {hash tag}, and a
        pipeline must have `transaction=False`: what is to happen at once is a script.

        Args:
            ask: Sends the command; better one round trip than several.
            undo: Sent, too, if the command is carried out after its caller left.

        Raises:
            RedisUnavailable: It did not, in time.
        """
        if not self._up:
            self._counts["open"] += 1
            raise RedisUnavailable("redis failed a moment ago; it will be asked again")
        started = self._clock()
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._waited(ask, undo)
        except FAILURES as error:
            failure = failure_of(error)
            self._failed(failure, started)
            words = "refused" if failure.result == "refused" else "failed"
            raise RedisUnavailable(f"redis {words}: {type(error).__name__}: {error}") from error
        self._answered(self._clock() - started)
        return answer

    async def close(self) -> None:
        """Let go of connections and of all that is still running; a later call connects anew."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        opened = [*self._retiring, *([self._client] if self._client else [])]
        self._client, self._retiring = None, []
        self._up, self._failures = True, 0
        for old in opened:
            with contextlib.suppress(*FAILURES):  # a server that hangs need not be told
                await old.close()

    def _begin(self, work: Any, done: Callable[[], None] = lambda: None) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._running.add(task)
        self._busiest = max(self._busiest, len(self._running))

        def ended(task: asyncio.Task[Any]) -> None:
            self._running.discard(task)
            done()
            if not task.cancelled():
                task.exception()  # seen: whoever waited for it may have left

        task.add_done_callback(ended)
        return task

    async def _waited(self, ask: Ask, undo: Ask | None) -> Any:
        """Begin a call when it is its turn and wait for its answer."""
        await self._slots.acquire()
        call = self._begin(self._call(ask), self._slots.release)
        try:
            # Shielded: what a caller no longer waits for must not cost a connection.
            return await asyncio.shield(call)
        except asyncio.CancelledError:  # of the wait: the caller has left, or has no more time
            if undo is not None:
                self._begin(self._undone(call, undo))
            raise

    async def _undone(self, call: asyncio.Task[Any], undo: Ask) -> None:
        await asyncio.wait([call])
        if not call.cancelled() and call.exception() is None:
            await self._call(undo)

    async def _call(self, ask: Ask) -> Any:
        async with asyncio.timeout(self._outlive_s):
            return await ask(await self._opened().ready())

    def _opened(self) -> Client:
        if self._client is None:
            # Calls wait for their turn here, so the client's limit is one that is never met.
            limits = Limits(self._outlive_s, 2 * MAX_CONNECTIONS + _WARM[1])
            self._client = client(self._address, limits, self._clock)
        return self._client

    def _answered(self, latency_s: float) -> None:
        self._counts["ok"] += 1
        self.latency_s = latency_s
        self._failures = 0
        # Reads go on while writes are refused: one answer does not mean that all is well.
        if self._refusal is not None and self._clock() - self._refused_at > _QUIET_S:
            _log.info("redis no longer refuses", address=self._address.shown)
            self._refusal = None

    def _failed(self, failure: Failure, started: float) -> None:
        self._counts[failure.result] += 1
        if not failure.gone:
            self._refused(failure)
            return
        if not self._up or started < self._up_since:
            return  # it tells of the time before the probe
        self._failures += 1
        if self._failures >= _FAILURES_TO_OPEN[self._address.kind]:
            self._up = False
            _log.warning("redis is down", address=self._address.shown, reason=failure.state)
            self._begin(self._probe_until_up(failure.state))

    def _refused(self, failure: Failure) -> None:
        self._failures = 0  # it answers
        if failure.state is None:
            return
        if failure.state != self._refusal:
            _log.warning("redis refuses", address=self._address.shown, reason=failure.state)
        self._refusal, self._refused_at = failure.state, self._clock()
        if failure.replaced and self._clock() >= self._renew_from:
            self._renew()

    def _renew(self) -> None:
        """Let calls from now on connect anew: the name may mean another server by now."""
        self._renew_from = self._clock() + _RENEW_S
        old, self._client = self._client, None
        if old is not None:
            self._retiring.append(old)
            self._begin(self._retire(old))

    async def _retire(self, old: Client) -> None:
        await asyncio.sleep(self._outlive_s)  # calls on it have ended by then
        await old.close()
        self._retiring.remove(old)

    async def _probe_until_up(self, reason: str | None) -> None:
        while (failure := await self._probe()) is not None and failure.gone:
            if failure.state != reason:
                reason = failure.state
                _log.warning("redis is down", address=self._address.shown, reason=reason)
            await asyncio.sleep(self._probe_every_s)
        self._up, self._failures, self._busiest = True, 0, 0
        self._up_since = self._clock()
        _log.info("redis is up", address=self._address.shown)

    async def _probe(self) -> Failure | None:
        """Return why Redis cannot be asked, or None once it answers in time."""
        try:
            async with asyncio.timeout(self._outlive_s):
                key = await self._connected()
            async with asyncio.timeout(self._timeout_s):
                await (await self._opened().ready()).get(key)
        # A loop in the background: whatever it was, it is tried again.
        except Exception as error:  # noqa: BLE001
            self._renew()
            return failure_of(error)
        return None

    async def _connected(self) -> str:
        """Make connections stand, by a read on each; return a key that can be read.

        Raises:
            Exception: No read was answered, not even by a refusal; one node of a cluster suffices.
        """
        least, most = _WARM
        keys = [f"{PROBE_KEY}:{number}" for number in range(max(least, min(self._busiest, most)))]
        redis = await self._opened().ready()
        reads = (redis.get(key) for key in keys)
        answers = await asyncio.gather(*reads, return_exceptions=True)
        failures = [answer for answer in answers if isinstance(answer, Exception)]
        for key, answer in zip(keys, answers, strict=True):
            if not isinstance(answer, Exception) or not failure_of(answer).gone:
                return key
        raise failures[0]


def _understood(url: SecretStr) -> SecretStr:
    """Return an address that can be used.

    Raises:
        ValueError: It cannot; the message never quotes it.
    """
    parsed_address(url.get_secret_value())
    return url


RedisUrl = Annotated[
    SecretStr,
    AfterValidator(_understood),
    Field(description=f"Address: {FORMS}. It may hold a password, so give it in the environment."),
]
"""A Redis address in the configuration."""
