"""Labels shared by all gateways through Redis: any of them may be told how an answer turned out.

Answers are hashes that expire, one field a tenant; labels are one capped stream that every gateway
learns from in the same order. All of it is done beside the requests, or within one budget.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError
from redis.asyncio import Redis

from entroute.feedback.decided import Decided, Missing, decided_from
from entroute.feedback.labels import Label
from entroute.feedback.learning import Learner
from entroute.redis_link.budgeted import BudgetedRedis, RedisUnavailable

READ_EVERY_S = 2.0
_MOST_WAITING = 1000
_BATCH = 100
_READ = 250
_UNUSED_S = 30 * 86400
"""After this time without a label the labels of a profile that nobody uses are dropped."""

_FIELD = b"label"
_LABEL = TypeAdapter(Label)


class RedisKeeper:
    """Keeps answers and labels in Redis.

    Args:
        redis: Asked within its budget; whoever made it closes it.
        profile: Which profile the labels are about.
        learner: Learns every gateway's labels.
        ttl_s: Seconds an answer is kept.
        labels: Labels kept, about.
        prefix: Put before every key, so that the database may be shared.
        read_every_s: Seconds between two looks for other gateways' labels.
    """

    def __init__(  # noqa: PLR0913 (three of them are keyword-only with defaults)
        self,
        redis: BudgetedRedis,
        profile: str,
        learner: Learner,
        ttl_s: float,
        *,
        labels: int = 2000,
        prefix: str = "entroute:feedback:",
        read_every_s: float = READ_EVERY_S,
    ) -> None:
        self._redis = redis
        self._learner = learner
        self._ttl_ms = max(1, round(ttl_s * 1000))
        self._labels = labels
        self._answers = f"{prefix}answer:"
        self._streams = f"{prefix}labels:"
        self._stream = self._streams + profile
        self._read_every_s = read_every_s
        self._last: bytes | str = "0"
        self._waiting: deque[Decided] = deque(maxlen=_MOST_WAITING)
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._reading = asyncio.Lock()
        self._writing = asyncio.Lock()  # an older write of an answer must not land after its label
        self._tasks: list[asyncio.Task[None]] = []
        self.failures = 0

    async def start(self) -> None:
        """Learn what is there and begin to write and read beside the requests."""
        with contextlib.suppress(RedisUnavailable):
            await self._learn_new()
        self._tasks = [
            asyncio.create_task(self._write_answers()),
            asyncio.create_task(self._read_labels()),
        ]

    def follow(self, profile: str) -> None:
        """Learn and share labels about another profile, from the first that is kept."""
        self._stream, self._last = self._streams + profile, "0"

    def remember(self, decided: Decided) -> None:
        """Keep an answer soon; the oldest that waits goes first where Redis is too slow."""
        self._waiting.append(decided)
        self._wake.set()

    async def find(self, request_id: str, tenant: str) -> Decided | Missing:
        """Return the newest answer that any gateway gave, as far as Redis can say now."""
        key = self._answers + request_id

        async def ask(redis: Redis) -> Any:
            async with redis.pipeline(transaction=False) as pipe:
                pipe.hget(key, tenant)
                pipe.exists(key)
                return await pipe.execute()

        try:
            data, exists = await self._ask(ask)
        except RedisUnavailable:
            return "unknown"
        found = decided_from(data) if isinstance(data, bytes) else None
        return found or ("foreign" if exists else "unknown")

    async def keep(self, decided: Decided, label: Label | None) -> None:
        """Share a label and learn it in its place among those of the others."""
        mine = (decided.request_id, decided.tenant)
        others = [d for d in self._waiting if (d.request_id, d.tenant) != mine]
        self._waiting.clear()
        self._waiting.extend(others)  # the answer itself is written now, with its label
        with contextlib.suppress(RedisUnavailable):
            await self._put([decided], label)
            if label is not None:
                await self._learn_new()

    async def close(self) -> None:
        """Write the answers that wait."""
        self._closing.set()  # nothing is cancelled in the middle of a conversation
        self._wake.set()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks = []

    async def _write_answers(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
                with contextlib.suppress(RedisUnavailable):  # this gateway still knows them
                    await self._put(batch, None)
            if self._closing.is_set():
                return

    async def _read_labels(self) -> None:
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._read_every_s)
            with contextlib.suppress(RedisUnavailable):
                await self._learn_new()

    async def _learn_new(self) -> None:
        """Learn every label that came since the last look, in the order they came."""
        async with self._reading:
            while True:
                stream = self._stream
                entries = await self._new_entries()
                if stream != self._stream:
                    continue  # about a profile that was left meanwhile
                for name, fields in entries:
                    self._last = name
                    with contextlib.suppress(ValidationError):  # a later version's, perhaps
                        self._learner.learn(_LABEL.validate_json(fields.get(_FIELD, b"")))
                if len(entries) < _READ:
                    return

    async def _new_entries(self) -> Sequence[tuple[bytes, Mapping[bytes, bytes]]]:
        found = await self._ask(lambda redis: redis.xread({self._stream: self._last}, count=_READ))
        entries: Sequence[tuple[bytes, Mapping[bytes, bytes]]] = found[0][1] if found else ()
        return entries

    async def _put(self, answers: Sequence[Decided], label: Label | None) -> None:
        async def ask(redis: Redis) -> None:
            async with redis.pipeline(transaction=False) as pipe:
                for decided in answers:
                    key = self._answers + decided.request_id
                    pipe.hset(key, decided.tenant, orjson.dumps(asdict(decided)))
                    pipe.pexpire(key, self._ttl_ms)
                if label is not None:
                    row: Any = {_FIELD: orjson.dumps(asdict(label))}
                    pipe.xadd(self._stream, row, maxlen=self._labels)
                    pipe.expire(self._stream, _UNUSED_S)
                await pipe.execute()

        async with self._writing:
            await self._ask(ask)

    async def _ask(self, ask: Callable[[Redis], Awaitable[Any]]) -> Any:
        try:
            return await self._redis.ask(ask)
        except RedisUnavailable:
            self.failures += 1
            raise
