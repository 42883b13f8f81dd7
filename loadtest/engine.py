"""The fake model behind a fake worker: its pace, its counters, its turn-taking.

It knows nothing about HTTP. A cancelled generation has counted exactly the tokens it made.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from random import Random

from loadtest.choosing import Choosing
from loadtest.failures import Failing, Failure, Interrupted
from loadtest.generation import Plan, Step
from loadtest.prefixes import PrefixCache
from loadtest.script import Script
from loadtest.worker_histograms import Distributions

_YIELD_EVERY = 32  # tokens made at full speed before others get a turn


@dataclass(slots=True)
class Counters:
    """What /metrics tells; tokens are counted when made, requests when they end."""

    running: int = 0
    waiting: int = 0
    tokens_held: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    finished: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("stop", "length", "abort"), 0)
    )
    spread: Distributions = field(default_factory=Distributions)


@dataclass(slots=True)
class Progress:
    """How far one request is: tokens made over all its choices, seconds that it had waited."""

    made: int = 0
    waited_s: float = 0.0


class Engine:
    """Runs the script: picks answers, waits, counts, breaks off."""

    def __init__(self, script: Script, max_running: int) -> None:
        self.counters = Counters()
        self.prefixes = PrefixCache()
        self._slots = asyncio.Semaphore(max_running)
        self.follow(script)

    def follow(self, script: Script) -> None:
        """Replace the script; cycles and the count of failures start anew."""
        self.script = script
        self._rng = Random(script.seed)
        self.choosing = Choosing(script)
        self.failing = Failing(script.failures, self._rng)

    @asynccontextmanager
    async def slot(self, prompt_tokens: int, cached_tokens: int) -> AsyncIterator[float]:
        """Hold a place among the running requests; yield the seconds that it was waited for."""
        clock, spread = asyncio.get_running_loop().time, self.counters.spread
        arrived = clock()
        self.counters.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.counters.waiting -= 1
        self.counters.running += 1
        self.counters.tokens_held += prompt_tokens
        self.counters.prompt_tokens += prompt_tokens
        self.counters.cached_tokens += cached_tokens
        waited_s = clock() - arrived
        spread.queue_s.observe(waited_s)
        spread.prompt_tokens.observe(prompt_tokens)
        try:
            yield waited_s
        finally:
            spread.request_s.observe(clock() - arrived)
            self.counters.running -= 1
            self.counters.tokens_held -= prompt_tokens
            self._slots.release()

    async def generate(
        self, plans: Sequence[Plan], failure: Failure | None, progress: Progress
    ) -> AsyncGenerator[tuple[int, Step]]:
        """Yield (sample, step) at the script's pace, samples taking turns; count in `progress`.

        Raises:
            Interrupted: the failure's moment has come.
        """
        length = max((len(plan.steps) for plan in plans), default=0)
        if failure is not None and failure.kind != "trickle":
            length = min(length, failure.after_tokens)
        finished = False
        tempo = self._tempo()
        paces = _Paces(self.counters.spread, asyncio.get_running_loop().time, progress.waited_s)
        try:
            await tempo.wait(0)
            for place in range(length):
                await tempo.wait(place)
                paces.token(len(plans))
                for sample, step in _taking_turns(plans, place):
                    progress.made += 1
                    self._count_made(1)
                    yield sample, step
            if failure is not None and failure.kind != "trickle":
                await _break_off(failure)
            finished = True
        finally:
            paces.ended()
            self._count_ended(plans, progress.made, finished=finished)

    async def generate_all(
        self, plans: Sequence[Plan], failure: Failure | None, progress: Progress
    ) -> None:
        """Generate without showing the steps; at full speed they are counted in one go.

        Raises:
            Interrupted: the failure's moment has come.
        """
        if failure is not None or self.script.tokens_per_second:
            async with aclosing(self.generate(plans, failure, progress)) as steps:
                async for _ in steps:
                    pass
            return
        ready = False
        paces = _Paces(self.counters.spread, asyncio.get_running_loop().time, progress.waited_s)
        try:
            await self._tempo().wait(0)
            ready = True
            progress.made = sum(len(plan.steps) for plan in plans)
            self._count_made(progress.made)
            if progress.made:
                paces.token(len(plans))
                later = sum(max(0, len(plan.steps) - 1) for plan in plans)
                self.counters.spread.between_tokens_s.observe(0.0, later)
        finally:
            paces.ended()
            self._count_ended(plans, progress.made, finished=ready)

    def _count_made(self, tokens: int) -> None:
        self.counters.generated_tokens += tokens
        self.counters.tokens_held += tokens

    def _count_ended(self, plans: Sequence[Plan], made: int, *, finished: bool) -> None:
        self.counters.tokens_held -= made
        self.counters.spread.generated_tokens.observe(made)
        for plan in plans:
            reason = plan.finish_reason if finished else "abort"
            self.counters.finished[reason] = self.counters.finished.get(reason, 0) + 1

    def _tempo(self) -> "_Tempo":
        """Draw how fast a request that begins now is answered."""
        script = self.script
        late, slow = (self._rng.uniform(1 - script.jitter, 1 + script.jitter) for _ in range(2))
        first = asyncio.get_running_loop().time() + late * script.ttft_ms / 1000
        return _Tempo(first, slow / script.tokens_per_second if script.tokens_per_second else 0.0)


@dataclass(frozen=True, slots=True)
class _Tempo:
    """When the tokens of one request are due: seconds of the loop's time."""

    first: float
    between_s: float

    async def wait(self, made: int) -> None:
        """Sleep until the moment of token `made`, counted from the first token's."""
        delay = self.first + made * self.between_s - asyncio.get_running_loop().time()
        if delay > 0:
            await asyncio.sleep(delay)
        elif made % _YIELD_EVERY == _YIELD_EVERY - 1:
            await asyncio.sleep(0)


class _Paces:
    """Counts when one request's tokens came.

    Args:
        spread: Where.
        clock: Seconds.
        waited_s: Before generation began.
    """

    def __init__(self, spread: Distributions, clock: Callable[[], float], waited_s: float) -> None:
        self._spread = spread
        self._clock = clock
        self._waited_s = waited_s
        self._began = clock()
        self._first: float | None = None
        self._last = self._began

    def token(self, samples: int) -> None:
        """Count the next token of so many samples."""
        now = self._clock()
        if self._first is None:
            self._first = now
            self._spread.prefill_s.observe(now - self._began)
            self._spread.first_token_s.observe(now - self._began + self._waited_s)
        else:
            self._spread.between_tokens_s.observe(now - self._last, samples)
        self._last = now

    def ended(self) -> None:
        """Count the time since the first token, if there was one."""
        if self._first is not None:
            self._spread.decode_s.observe(self._clock() - self._first)


def _taking_turns(plans: Sequence[Plan], place: int) -> Iterator[tuple[int, Step]]:
    for sample, plan in enumerate(plans):
        if place < len(plan.steps):
            yield sample, plan.steps[place]


async def _break_off(failure: Failure) -> None:
    if failure.kind == "stall":
        await asyncio.Event().wait()
    raise Interrupted(failure)
