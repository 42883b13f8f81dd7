"""A simulated worker that batches continuously, step by step; stretches of equal steps at once.

As vLLM's scheduler does, every step writes one token of each running answer and fills what is left
of its token budget with prompts, first come first served, the last one in part.
"""

import heapq
import math
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from entroute.decisions import WorkerLoad
from entroute.evaluation.sizing_workers import Worker
from entroute.evaluation.step_times import Step

BLOCK_TOKENS = 512
"""Tokens of a block of the Mooncake traces."""


@dataclass(slots=True, eq=False)
class Work:
    """One call to a worker.

    Attributes:
        prompt: Tokens.
        answer: Tokens, at least 1.
        blocks: Ids of the blocks that its prompt begins with.
        given_s: When the gateway took it.
        sent_s: When a worker got it.
        begun_s: When the worker let it in.
        first_s: When its first token was made.
        done_s: When its last was.
        cached: Prompt tokens found in the prefix cache.
        read: Prompt tokens read or found so far.
    """

    prompt: int
    answer: int
    blocks: tuple[str, ...] = ()
    given_s: float = 0.0
    sent_s: float = math.nan
    begun_s: float = math.nan
    first_s: float = math.nan
    done_s: float = math.nan
    cached: int = 0
    read: int = 0

    @property
    def held(self) -> int:
        """KV entries it takes at its end; set aside from its begin, so that none is evicted."""
        return self.prompt + self.answer


@dataclass(slots=True)
class _Stretch:
    """Equal steps that are under way: `count` of them since `begun_s`.

    Step i takes first_s + i growth_s: every answer has one KV entry more to look at.
    """

    begun_s: float
    first_s: float
    growth_s: float
    count: int
    reading: list[tuple[Work, int]] = field(default_factory=list)

    def lasts(self, count: int) -> float:
        return count * self.first_s + self.growth_s * count * (count - 1) / 2

    def steps_by(self, seconds: float) -> int:
        """Return the steps that begin before so many seconds are over, at least 1."""
        if self.growth_s <= 0:
            return max(1, math.ceil(seconds / self.first_s - 1e-9))
        half = self.first_s - self.growth_s / 2
        root = math.sqrt(half * half + 2 * self.growth_s * max(0.0, seconds))
        return max(1, math.ceil((root - half) / self.growth_s - 1e-9))


class SimulatedWorker:
    """Answers calls in simulated time; satisfies `WorkerView`, so our balancers pick among them.

    Args:
        url: Its name.
        worker: What it can do.
    """

    def __init__(self, url: str, worker: Worker) -> None:
        self.url = url
        self.weight = 1.0
        self.load: WorkerLoad | None = None
        self.version = 0
        self.busy_s = 0.0
        self.most_held = 0
        self._worker = worker
        self._waiting: deque[Work] = deque()
        self._reading: deque[Work] = deque()
        self._writing: list[tuple[int, int, Work]] = []  # step at which each ends, then a number
        self._number = 0
        self._steps = 0
        self._held = 0
        self._context = 0
        self._stretch: _Stretch | None = None
        self._cache: OrderedDict[str, None] = OrderedDict()

    @property
    def in_flight(self) -> int:
        """Calls that it has, waiting ones included."""
        return len(self._waiting) + len(self._reading) + len(self._writing)

    def submit(self, work: Work, now_s: float) -> float | None:
        """Take a call; return when its stretch ends if that has changed."""
        work.sent_s = now_s
        self._waiting.append(work)
        if self._stretch is None:
            return self._begin(now_s)
        if self._stretch.reading or self._stretch.count == 1:
            return None
        steps = self._stretch.steps_by(now_s - self._stretch.begun_s)
        if steps >= self._stretch.count:
            return None
        self._stretch.count = steps
        return self._ends()

    def advance(self, now_s: float) -> tuple[list[Work], float | None]:
        """End the stretch; return the calls that are done, and when the next one ends."""
        done = self._end(now_s)
        return done, self._begin(now_s)

    def _ends(self) -> float:
        """Return when the stretch ends; whatever was said before no longer holds."""
        assert self._stretch is not None  # noqa: S101 - called while one is under way
        self.version += 1
        return self._stretch.begun_s + self._stretch.lasts(self._stretch.count)

    def _begin(self, now_s: float) -> float | None:
        """Begin the next stretch, if there is anything to do."""
        self._admit(now_s)
        writing = len(self._writing)
        reading = self._chunks(writing)
        if not reading and not writing:
            self._stretch = None
            return None
        count = 1 if reading else self._writing[0][0] - self._steps
        pairs = sum(chunk * (work.read + chunk / 2) for work, chunk in reading)
        tokens = sum(chunk for _, chunk in reading)
        seconds = self._worker.steps.seconds(Step(tokens, writing, self._context, pairs))
        growth_s = writing * self._worker.steps.context_s
        self._stretch = _Stretch(now_s, seconds, growth_s, count, reading)
        return self._ends()

    def _end(self, now_s: float) -> list[Work]:
        stretch = self._stretch
        if stretch is None:
            return []
        self.busy_s += now_s - stretch.begun_s
        self._steps += stretch.count
        self._context += stretch.count * len(self._writing)
        done = []
        while self._writing and self._writing[0][0] <= self._steps:
            done.append(heapq.heappop(self._writing)[2])
        for work, chunk in stretch.reading:
            work.read += chunk
            if work.read == work.prompt:
                self._reading.popleft()
                work.first_s = now_s
                self._begun(work, done)
        for work in done:
            self._leave(work, now_s)
        return done

    def _begun(self, work: Work, done: list[Work]) -> None:
        """Go on writing a call of which the first token has just been made."""
        self._number += 1
        self._context += work.prompt + 1
        if work.answer == 1:
            done.append(work)
        else:
            end = self._steps + work.answer - 1
            heapq.heappush(self._writing, (end, self._number, work))

    def _leave(self, work: Work, now_s: float) -> None:
        work.done_s = now_s
        self._context -= work.held
        self._held -= work.held
        self._keep(work)

    def _admit(self, now_s: float) -> None:
        """Let calls in, first come first served, while there is room for their answers, too."""
        limit = self._worker.kv_tokens
        while self._waiting:
            running = len(self._reading) + len(self._writing)
            full = limit is not None and running and self._held + self._waiting[0].held > limit
            if full or running >= self._worker.most_answers:
                return
            work = self._waiting.popleft()
            work.begun_s = now_s
            self._find(work)
            self._reading.append(work)
            self._held += work.held
            self.most_held = max(self.most_held, self._held)

    def _chunks(self, writing: int) -> list[tuple[Work, int]]:
        left = max(1, self._worker.step_tokens - writing)
        chunks = []
        for work in self._reading:
            chunk = min(left, work.prompt - work.read)
            chunks.append((work, chunk))
            left -= chunk
            if not left:
                break
        return chunks

    def _find(self, work: Work) -> None:
        """Look a prompt's beginning up; its last token is always read."""
        for block in work.blocks:
            if block not in self._cache:
                break
            self._cache.move_to_end(block)
            work.cached += BLOCK_TOKENS
        work.cached = min(work.cached, work.prompt - 1)
        work.read = work.cached

    def _keep(self, work: Work) -> None:
        """Keep a prompt's whole blocks; what running answers hold is not there for them."""
        for block in work.blocks[: work.prompt // BLOCK_TOKENS]:
            self._cache[block] = None
            self._cache.move_to_end(block)
        if self._worker.kv_tokens is not None:
            room = max(0, self._worker.kv_tokens - self._held) // BLOCK_TOKENS
            while len(self._cache) > room:
                self._cache.popitem(last=False)
