"""The fake model behind a fake worker: its pace, its counters, its turn-taking.

It knows nothing about HTTP. A cancelled generation has counted exactly the tokens it made.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache

from loadtest.failures import Failure, Interrupted
from loadtest.generation import Plan, Step
from loadtest.script import Answer, Script

_BLOCK = 16  # prompt tokens a cached block holds, as in vLLM
_MAX_BLOCKS = 65_536
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


class PrefixCache:
    """Which prompt blocks were seen before; the oldest are forgotten first."""

    def __init__(self) -> None:
        self._blocks: OrderedDict[int, None] = OrderedDict()

    def admit(self, words: Sequence[str]) -> int:
        """Return how many leading prompt tokens were cached, and remember all of them."""
        digest, cached, unbroken = 0, 0, True
        for start in range(0, len(words) - _BLOCK, _BLOCK):
            digest = hash((digest, *words[start : start + _BLOCK]))
            unbroken = unbroken and digest in self._blocks
            cached += _BLOCK if unbroken else 0
            self._blocks[digest] = None
        while len(self._blocks) > _MAX_BLOCKS:
            self._blocks.popitem(last=False)
        return cached


class Engine:
    """Runs the script: picks answers, waits, counts, breaks off."""

    def __init__(self, script: Script, max_running: int) -> None:
        self.script = script
        self.counters = Counters()
        self.prefixes = PrefixCache()
        self._slots = asyncio.Semaphore(max_running)
        self._turns: dict[str | None, int] = {}
        self._failures_left = script.failure.times if script.failure else 0

    def follow(self, script: Script) -> None:
        """Replace the script; cycles and the count of failures start anew."""
        self.script = script
        self._turns.clear()
        self._failures_left = script.failure.times if script.failure else 0

    def next_failure(self) -> Failure | None:
        """Return how the coming request fails, or None."""
        if self.script.failure is None or self._failures_left == 0:
            return None
        if self._failures_left is not None:
            self._failures_left -= 1
        return self.script.failure

    def next_answer(self, last_user_message: str, *, tools: bool) -> Answer:
        """Return the answer of the first matching rule, else the script's, else counted words."""
        answers, key = self._answers_for(last_user_message)
        if not answers:
            return _counted_words(self.script.tokens)
        turn = self._turns.get(key, 0)
        self._turns[key] = turn + 1
        answer = answers[turn % len(answers)]
        return answer if tools or not answer.tool_calls else replace(answer, tool_calls=())

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
        self, plans: Sequence[Plan], failure: Failure | None
    ) -> AsyncGenerator[tuple[int, Step]]:
        """Yield (sample, step) at the script's pace, samples taking turns.

        Raises:
            Interrupted: the failure's moment has come.
        """
        length = max((len(plan.steps) for plan in plans), default=0)
        if failure is not None:
            length = min(length, failure.after_tokens)
        made, finished = 0, False
        first = asyncio.get_running_loop().time() + self.script.ttft_ms / 1000
        try:
            await self._wait(first, 0)
            for place in range(length):
                await self._wait(first, place)
                for sample, step in _taking_turns(plans, place):
                    made += 1
                    self._count_made(1)
                    yield sample, step
            if failure is not None:
                await _break_off(failure)
            finished = True
        finally:
            self._count_ended(plans, made, finished=finished)

    async def generate_all(self, plans: Sequence[Plan], failure: Failure | None) -> None:
        """Generate without showing the steps; at full speed they are counted in one go.

        Raises:
            Interrupted: the failure's moment has come.
        """
        if failure is not None or self.script.tokens_per_second:
            async with aclosing(self.generate(plans, failure)) as steps:
                async for _ in steps:
                    pass
            return
        made, ready = 0, False
        try:
            if self.script.ttft_ms:
                await asyncio.sleep(self.script.ttft_ms / 1000)
            ready = True
            made = sum(len(plan.steps) for plan in plans)
            self._count_made(made)
        finally:
            self._count_ended(plans, made, finished=ready)

    def _count_made(self, tokens: int) -> None:
        self.counters.generated_tokens += tokens
        self.counters.tokens_held += tokens

    def _count_ended(self, plans: Sequence[Plan], made: int, *, finished: bool) -> None:
        self.counters.tokens_held -= made
        for plan in plans:
            reason = plan.finish_reason if finished else "abort"
            self.counters.finished[reason] = self.counters.finished.get(reason, 0) + 1

    async def _wait(self, first: float, made: int) -> None:
        """Sleep until the moment of token `made`, counted from the first token's."""
        pace = self.script.tokens_per_second
        due = first + (made / pace if pace else 0.0)
        delay = due - asyncio.get_running_loop().time()
        if delay > 0:
            await asyncio.sleep(delay)
        elif made % _YIELD_EVERY == _YIELD_EVERY - 1:
            await asyncio.sleep(0)

    def _answers_for(self, message: str) -> tuple[tuple[Answer, ...], str | None]:
        for rule in self.script.rules:
            if rule.contains in message:
                return rule.answers, rule.contains
        return self.script.answers, None


@lru_cache(maxsize=64)
def _counted_words(tokens: int) -> Answer:
    return Answer(" ".join(f"word{number}" for number in range(tokens)))


def _taking_turns(plans: Sequence[Plan], place: int) -> Iterator[tuple[int, Step]]:
    for sample, plan in enumerate(plans):
        if place < len(plan.steps):
            yield sample, plan.steps[place]


async def _break_off(failure: Failure) -> None:
    if failure.kind == "stall":
        await asyncio.Event().wait()
    raise Interrupted(failure)
