"""The fake model behind a fake worker: its pace, its counters, its turn-taking.

It knows nothing about HTTP. A cancelled generation has counted exactly the tokens it made.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from random import Random

from loadtest.choosing import Choosing
from loadtest.failures import Failing, Failure, Interrupted
from loadtest.generation import Plan, Step
from loadtest.prefixes import PrefixCache
from loadtest.script import Script

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


@dataclass(slots=True)
class Progress:
    """Tokens that one request has been made so far, over all its choices."""

    made: int = 0


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
    async def slot(self, prompt_tokens: int, cached_tokens: int) -> AsyncIterator[None]:
        """Hold a place among the running requests, waiting for one first."""
        self.counters.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.counters.waiting -= 1
        self.counters.running += 1
        self.counters.tokens_held += prompt_tokens
        self.counters.prompt_tokens += prompt_tokens
        self.counters.cached_tokens += cached_tokens
        try:
            yield
        finally:
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
        try:
            await tempo.wait(0)
            for place in range(length):
                await tempo.wait(place)
                for sample, step in _taking_turns(plans, place):
                    progress.made += 1
                    self._count_made(1)
                    yield sample, step
            if failure is not None and failure.kind != "trickle":
                await _break_off(failure)
            finished = True
        finally:
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
        try:
            await self._tempo().wait(0)
            ready = True
            progress.made = sum(len(plan.steps) for plan in plans)
            self._count_made(progress.made)
        finally:
            self._count_ended(plans, progress.made, finished=ready)

    def _count_made(self, tokens: int) -> None:
        self.counters.generated_tokens += tokens
        self.counters.tokens_held += tokens

    def _count_ended(self, plans: Sequence[Plan], made: int, *, finished: bool) -> None:
        self.counters.tokens_held -= made
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


def _taking_turns(plans: Sequence[Plan], place: int) -> Iterator[tuple[int, Step]]:
    for sample, plan in enumerate(plans):
        if place < len(plan.steps):
            yield sample, plan.steps[place]


async def _break_off(failure: Failure) -> None:
    if failure.kind == "stall":
        await asyncio.Event().wait()
    raise Interrupted(failure)
