"""Results of programs, kept by what was run: an equal program is not run again.

With them a functional hash, which is told by what a program does (2302.05433), is found once and
shared by all gateways. The key is a digest of source, input, tenant and sandbox; the time that a
run may take is not in it, since only runs that ended by themselves are kept, and those end the
same whatever time they might have had.
"""

import asyncio
import re
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from typing import Any

from entroute.cache.codec import SCHEMA_VERSION, pack, unpack
from entroute.errors import StoreUnavailable, WrongKind
from entroute.execution import Execution, Repeat
from entroute.protocols import Sandbox
from entroute.stores import Store

LARGEST = 128 * 1024
"""Bytes of an encoded result that is kept."""

RESULTS = ("hit", "shared", "miss", "fresh", "changing", "damaged", "error")
"""What can become of a program that may be kept: see `KeptExecutions`."""

_ENDED = frozenset({"ok", "error"})
_CHANGING = re.compile(
    r"(?:import|from)\s[^\n;\\]*\b(?:datetime|random|secrets|tempfile|time|uuid)\b"
    r"|\b(?:__import__|importlib|urandom|getpid|perf_counter|monotonic)\b"
)


def changing(source: str) -> bool:
    """Whether a program names a clock or a source of chance: its next run may end otherwise.

    What it cannot see is the order of a set of texts, which Python draws anew for every process.
    A program whose result hangs on that is given one of its results again.
    """
    return _CHANGING.search(source) is not None


@dataclass(frozen=True, slots=True)
class _Result:
    """What came of a run, and the word in it that was its own, "" for none."""

    nonce: str
    execution: Execution

    def given(self, nonce: str) -> Execution:
        """Return it as a run with another word of its own would have ended."""
        done = self.execution
        if not self.nonce or self.nonce == nonce:
            return done
        stdout, error = (text.replace(self.nonce, nonce) for text in (done.stdout, done.error))
        return replace(done, stdout=stdout, error=error)


@dataclass(slots=True)
class _Flight:
    task: asyncio.Task[_Result]
    waiting: int = 0


class KeptExecutions:
    """A `Sandbox` that runs an equal program of one tenant once.

    Programs come from the same prompt again and again: code in answers, tests, solutions of one
    cluster. Only runs that say by `repeat` whose they are are kept.

    Args:
        sandbox: Runs what was not run before.
        store: Keeps results.
        ttl_s: Seconds a result is kept.
        fingerprint: Names what else a result depends on: interpreter and limits.
        across_tenants: Whether tenants share results.

    Attributes:
        counts: Programs so far, by what became of them: hit (kept), shared (an equal one was
            running), miss (run), fresh (run, since the client wants that), changing (run, never
            kept), damaged (run, what was kept could not be read), error (the store was away).
    """

    def __init__(
        self,
        sandbox: Sandbox,
        store: Store,
        ttl_s: float,
        fingerprint: str,
        *,
        across_tenants: bool = False,
    ) -> None:
        self.counts = dict.fromkeys(RESULTS, 0)
        self._sandbox = sandbox
        self._store = store
        self._ttl_s = ttl_s
        self._fingerprint = fingerprint
        self._across_tenants = across_tenants
        self._flights: dict[tuple[str, float, bool], _Flight] = {}

    async def run(
        self, source: str, *, stdin: str = "", wall_s: float = 10.0, repeat: Repeat | None = None
    ) -> Execution:
        """Return what came of the program before, else run it. See `Sandbox.run`."""
        if repeat is None:
            return await self._sandbox.run(source, stdin=stdin, wall_s=wall_s)
        if changing(source):
            self.counts["changing"] += 1
            return await self._sandbox.run(source, stdin=stdin, wall_s=wall_s)
        key = self._key(source, stdin, repeat)

        async def result() -> _Result:
            kept = None if repeat.fresh else await self._kept(key)
            if kept is not None and kept.execution.seconds <= wall_s:
                self.counts["hit"] += 1
                return kept
            self.counts["fresh"] += repeat.fresh
            ran = await self._sandbox.run(source, stdin=stdin, wall_s=wall_s)
            await self._keep(key, _Result(repeat.nonce, ran))
            return _Result(repeat.nonce, ran)

        return (await self._once((key, wall_s, repeat.fresh), result)).given(repeat.nonce)

    async def _once(
        self, place: tuple[str, float, bool], run: Callable[[], Coroutine[Any, Any, _Result]]
    ) -> _Result:
        """Run, or wait for an equal run; it is cancelled when the last who waits has left."""
        flight = self._flights.get(place)
        if flight is None:
            flight = _Flight(asyncio.create_task(run()))
            flight.task.add_done_callback(lambda _: self._flights.pop(place, None))
            self._flights[place] = flight
        else:
            self.counts["shared"] += 1
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._flights.pop(place, None)
                flight.task.cancel()
                await asyncio.gather(flight.task, return_exceptions=True)

    async def _kept(self, key: str) -> _Result | None:
        try:
            data = await self._store.get(key)
        except StoreUnavailable as error:
            self.counts["damaged" if isinstance(error, WrongKind) else "error"] += 1
            return None
        if data is None:
            self.counts["miss"] += 1
            return None
        document = unpack(data)
        try:
            if isinstance(document, dict):
                return _Result(str(document["nonce"]), Execution(**document["execution"]))
        except (TypeError, LookupError):
            pass
        self.counts["damaged"] += 1
        return None

    async def _keep(self, key: str, result: _Result) -> None:
        """Keep a result of a program that ended by itself."""
        data = pack(asdict(result))
        if result.execution.status not in _ENDED or len(data) > LARGEST:
            return
        try:
            await self._store.put(key, data, self._ttl_s)
        except StoreUnavailable:
            self.counts["error"] += 1

    def _key(self, source: str, stdin: str, repeat: Repeat) -> str:
        same = source.replace(repeat.nonce, "") if repeat.nonce else source
        tenant = "" if self._across_tenants else repeat.tenant
        parts = (str(SCHEMA_VERSION), self._fingerprint, tenant, stdin, same)
        digest = blake2b(digest_size=16)
        for part in parts:
            text = part.encode(errors="surrogatepass")
            digest.update(b"%d:" % len(text) + text)
        return f"execution:{digest.hexdigest()}"
