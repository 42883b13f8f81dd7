"""Equality of LaTeX answers by computer algebra, in child processes that can be killed.

Simplifying what a model wrote can take forever (`9^{9^{9^{9}}}`) inside one C call that no signal
handler interrupts, so the library's own timeouts are off and the child is killed instead.
"""

import asyncio
import importlib
import importlib.util
import logging
import multiprocessing
import re
import resource
import signal
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

MAX_EXPRESSION = 200  # characters
MAX_REMEMBERED = 4096  # pairs
MAX_SYMBOLS = 2  # letters that are surely a product and no word
MAX_QUEUED = 16  # callers with a comparison under way or waiting for a child
MAX_LOST = 3  # comparisons of one caller that may run out of time or kill their child
CHILD_MEMORY = 2**30  # bytes of address space: a power tower fills memory before its second is up

_ASKER: ContextVar["asyncio.Task[Any] | None"] = ContextVar("asker", default=None)

_WORDS = re.compile(r"\\(?:text|textbf|mathrm)\{([^{}]*)\}")
_DECIMAL = re.compile(r"[-+]?[0-9]*\.[0-9]+")
_COMMANDS = re.compile(r"\\(?:text|textbf|mathrm|mbox)\{[^{}]*\}|\\[A-Za-z]+")


@contextmanager
def as_one_caller() -> Iterator[None]:
    """Count all tasks that are begun within as the current one: they wait their turn in it."""
    token = _ASKER.set(_asker())
    try:
        yield
    finally:
        _ASKER.reset(token)


@dataclass(slots=True)
class _Caller:
    """Whose turn it is of a caller's comparisons, and how many of them were lost."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    lost: int = 0


class SymbolicEquality:
    """Decides whether two LaTeX expressions are equal; abstains rather than blocks or raises.

    A pair is compared once, whichever comes first: votes ask for the same ones at every sample.
    It abstains until `start`, which starts its children, and again after `close`.

    All requests share its children, so none may hold them. A caller is a task, such as the one that
    counts a request's votes, with those it begins `as_one_caller`: it has one comparison in the
    queue at a time, the others wait their turn, and after three that ran out of time or killed
    their child it gets no more. Where 16 callers are in the queue already, none is added.

    Attributes:
        available: Whether the algebra library (the extra `maths`) is installed.
        timeouts: Comparisons that ran out of time, each an abstention.
        crashes: Comparisons that raised or lost their child, each an abstention.
        refused: Comparisons that were not queued, each an abstention.
    """

    _pool: Any = None

    def __init__(self, *, timeout_s: float = 1.0, workers: int = 1, wait_s: float = 5.0) -> None:
        """Set the limits.

        A comparison may compute for `timeout_s`; `wait_s` more is what a caller waits, at most,
        for a free child: the first one imports its library, a killed one is replaced.

        Raises:
            ValueError: a limit is not positive or there are no workers.
        """
        if timeout_s <= 0 or wait_s <= 0 or workers < 1:
            raise ValueError("timeout_s and wait_s must be above 0 and workers at least 1")
        self.available = all(map(importlib.util.find_spec, ("math_verify", "pebble")))
        self.timeouts = 0
        self.crashes = 0
        self.refused = 0
        self._timeout_s = timeout_s
        self._patience_s = timeout_s + wait_s
        self._queued = 0
        self._free = asyncio.Semaphore(workers)
        self._callers: WeakKeyDictionary[asyncio.Task[Any], _Caller] = WeakKeyDictionary()
        self._known: OrderedDict[tuple[str, str], bool | None] = OrderedDict()
        self._workers = workers

    def start(self) -> None:
        """Start the children and have them import the library, if it is there."""
        if self.available and self._pool is None:
            self._pool = self._started()

    async def same(self, a: str, b: str) -> bool | None:
        """Decide whether two expressions are equal, whichever comes first.

        None (abstained) when either is empty, longer than 200 characters or not understood, when
        the comparison times out or kills its child, when the library is missing or not started,
        and when it gives up, see `gave_up`.
        """
        if self._pool is None or not _usable(a, b):
            return None
        pair = _pair(a, b)
        if pair in self._known:
            self._known.move_to_end(pair)
            return self._known[pair]
        caller = self._callers.setdefault(_asker(), _Caller())
        async with caller.turn:
            if pair in self._known:  # it was compared while this waited its turn
                return self._known[pair]
            if self._queued >= MAX_QUEUED or caller.lost >= MAX_LOST:
                self.refused += 1
                return None
            return await self._compared(pair, caller)

    def gave_up(self, a: str, b: str) -> bool:
        """Whether `same` has just abstained for want of a free child, not for what was compared."""
        return self._pool is not None and _usable(a, b) and _pair(a, b) not in self._known

    async def close(self) -> None:
        """Stop the children and wait for them; safe to call twice."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            await asyncio.to_thread(_shut, pool)

    async def _compared(self, pair: tuple[str, str], caller: _Caller) -> bool | None:
        self._queued += 1
        try:
            # Whoever leaves the queue here costs nothing; pebble starts and kills what it holds.
            async with asyncio.timeout(self._patience_s), self._free:
                return await self._answer(pair, caller)
        except TimeoutError:
            self.timeouts += 1
            return None  # no child was free: that says nothing of the pair
        finally:
            self._queued -= 1

    def _started(self) -> Any:
        pool = importlib.import_module("pebble").ProcessPool(
            max_workers=self._workers,
            initializer=_prepare_child,
            context=multiprocessing.get_context("spawn"),
        )
        pool.schedule(_equal, args=("1", "1", self._patience_s))  # warms up: parsers are lazy
        return pool

    def _schedule(self, a: str, b: str) -> "Future[bool | None]":
        pool: Any = self._pool
        future: Future[bool | None] = pool.schedule(
            _equal, args=(a, b, 2 * self._timeout_s + 1), timeout=self._timeout_s
        )
        return future

    async def _answer(self, pair: tuple[str, str], caller: _Caller) -> bool | None:
        if self._pool is None:
            return None
        if not self._pool.active:  # a child died idle: pebble gives the whole pool up
            broken, self._pool = self._pool, self._started()
            await asyncio.to_thread(_shut, broken)
        waiting = asyncio.wrap_future(self._schedule(*pair))
        try:
            await asyncio.wait({waiting})
            caller.lost += waiting.exception() is not None
            return self._remember(pair, waiting)
        finally:
            waiting.cancel()  # our caller left or waited too long: its child is wanted elsewhere

    def _remember(
        self, pair: tuple[str, str], compared: "asyncio.Future[bool | None]"
    ) -> bool | None:
        """Keep what came of a comparison: one that ran out of time or memory would again."""
        error = compared.exception()
        self.timeouts += isinstance(error, TimeoutError)
        self.crashes += error is not None and not isinstance(error, TimeoutError)
        verdict = compared.result() if error is None else None
        self._known[pair] = verdict
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        return verdict


def _usable(a: str, b: str) -> bool:
    return all(text.strip() and len(text) <= MAX_EXPRESSION for text in (a, b))


def _pair(a: str, b: str) -> tuple[str, str]:
    return min(a, b), max(a, b)


def _asker() -> asyncio.Task[Any]:
    task = _ASKER.get() or asyncio.current_task()
    if task is None:
        raise RuntimeError("formulas are compared in a task")
    return task


def _shut(pool: Any) -> None:
    pool.stop()
    pool.join()


def _prepare_child() -> None:
    """Limit the child's memory, let it die at once when told to, and import the library."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (CHILD_MEMORY, CHILD_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.disable(logging.CRITICAL)
    importlib.import_module("math_verify")


def _equal(a: str, b: str, limit_s: float) -> bool | None:
    """Compare in the child; the alarm ends it even when its parent is gone by then."""
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        return _verified(a, b)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _verified(a: str, b: str) -> bool | None:
    one, other = (_WORDS.sub(r"\1", text).strip().casefold() for text in (a, b))
    if one == other:
        return True
    if (
        one.isalpha()
        and other.isalpha()
        and sorted(one) == sorted(other)
        and len(one) > MAX_SYMBOLS
    ):
        return None  # east and seat, or abc and bca: words or products, who knows
    library = importlib.import_module("math_verify")
    first, second = (library.parse(f"${text}$", parsing_timeout=None) for text in (a, b))
    if not (_understood(a, first) and _understood(b, second)):
        return None
    return any(
        library.verify(gold, answer, timeout_seconds=None, raise_on_error=True)
        for gold, answer in ((first, second), (second, first))
    )


def _understood(text: str, parsed: list[Any]) -> bool:
    """Check that [expression, source] covers the text: the library drops what it cannot read."""
    if len(parsed) < 2 or isinstance(parsed[0], str):  # noqa: PLR2004 - only the source
        return False
    rewritten = _DECIMAL.fullmatch(text.strip())  # 0.5 comes back as a fraction
    return bool(rewritten) or _symbols(text) == _symbols(str(parsed[-1]))


def _symbols(text: str) -> list[str]:
    return sorted(filter(str.isalnum, _COMMANDS.sub("", text)))
