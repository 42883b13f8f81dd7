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
from concurrent.futures import Future
from typing import Any

MAX_EXPRESSION = 200  # characters
MAX_REMEMBERED = 4096  # pairs
MAX_SYMBOLS = 2  # letters that are surely a product and no word
CHILD_MEMORY = 2**30  # bytes of address space: a power tower fills memory before its second is up

_WORDS = re.compile(r"\\(?:text|textbf|mathrm)\{([^{}]*)\}")
_DECIMAL = re.compile(r"[-+]?[0-9]*\.[0-9]+")
_COMMANDS = re.compile(r"\\(?:text|textbf|mathrm|mbox)\{[^{}]*\}|\\[A-Za-z]+")


class SymbolicEquality:
    """Decides whether two LaTeX expressions are equal; abstains rather than blocks or raises.

    A pair is compared once, whichever comes first: votes ask for the same ones at every sample.
    It abstains until `start`, which starts its children, and again after `close`.

    Attributes:
        available: Whether the algebra library (the extra `maths`) is installed.
        timeouts: Comparisons that ran out of time, each an abstention.
        crashes: Comparisons that raised or lost their child, each an abstention.
    """

    def __init__(
        self, *, timeout_s: float = 1.0, workers: int = 1, start_limit_s: float = 30.0
    ) -> None:
        """Set the limits.

        A comparison may compute for `timeout_s`; `start_limit_s` more is what a caller waits, at
        most, for a free child: the first one imports its library, a killed one is replaced.

        Raises:
            ValueError: a limit is not positive or there are no workers.
        """
        if timeout_s <= 0 or start_limit_s <= 0 or workers < 1:
            raise ValueError("timeout_s and start_limit_s must be above 0 and workers at least 1")
        self.available = all(map(importlib.util.find_spec, ("math_verify", "pebble")))
        self.timeouts = 0
        self.crashes = 0
        self._timeout_s = timeout_s
        self._patience_s = timeout_s + start_limit_s
        self._known: OrderedDict[tuple[str, str], bool | None] = OrderedDict()
        self._workers = workers
        self._pool: Any = None

    def start(self) -> None:
        """Start the children and have them import the library, if it is there."""
        if self.available and self._pool is None:
            self._pool = self._started()

    async def same(self, a: str, b: str) -> bool | None:
        """Decide whether two expressions are equal, whichever comes first.

        None (abstained) when either is empty, longer than 200 characters or not understood, when
        the comparison times out or kills its child, when the library is missing or not started.
        """
        usable = all(text.strip() and len(text) <= MAX_EXPRESSION for text in (a, b))
        if self._pool is None or not usable:
            return None
        pair = (min(a, b), max(a, b))
        if pair in self._known:
            self._known.move_to_end(pair)
            return self._known[pair]
        if not self._pool.active:  # a child died idle: pebble gives the whole pool up
            broken, self._pool = self._pool, self._started()
            await asyncio.to_thread(_shut, broken)
        return await self._answer(pair, self._schedule(a, b))

    async def close(self) -> None:
        """Stop the children and wait for them; safe to call twice."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            await asyncio.to_thread(_shut, pool)

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

    async def _answer(self, pair: tuple[str, str], future: "Future[bool | None]") -> bool | None:
        waiting = asyncio.wrap_future(future)
        try:
            await asyncio.wait({waiting}, timeout=self._patience_s)
            if not waiting.done():
                self.timeouts += 1
                return None  # no child was free: that says nothing of the pair
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
