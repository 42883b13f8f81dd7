"""A simulated fleet: tiers of workers behind our balancers and a queue, in simulated time."""

import heapq
import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from entroute.backends.balancing import BalancerKind, build_balancer
from entroute.evaluation.lengths import Arrival
from entroute.evaluation.sizing_workers import Worker
from entroute.types import Call, ChatRequest
from loadtest.capacity_traffic import Stage, Way, drawn
from loadtest.capacity_worker import BLOCK_TOKENS, SimulatedWorker, Work

BLOCK_TEXT = 2048
"""Characters by which the balancer is shown a block of 512 tokens: 4 a token."""


@dataclass(frozen=True, slots=True)
class TierSpec:
    """One tier.

    Attributes:
        worker: One of its workers.
        replicas: How many, at least 1.
        balancer: Of them.
        max_in_flight: Calls given to a worker at once, None for no limit; others wait.
    """

    worker: Worker
    replicas: int
    balancer: BalancerKind = "prefix_affinity"
    max_in_flight: int | None = None


@dataclass(slots=True, eq=False)
class Asked:
    """One request on its way.

    Attributes:
        arrival: What was asked.
        way: How it is answered.
        counts: Calls of each stage.
        works: Calls made so far, by stage.
        first_s: When the client saw the first of the answer.
        done_s: When it had all of it.
    """

    arrival: Arrival
    way: Way
    counts: tuple[int, ...]
    works: list[tuple[str, Work]] = field(default_factory=list)
    stage: int = -1
    open: int = 0
    first_s: float = math.nan
    done_s: float = math.nan

    def next_stage(self) -> Stage | None:
        """Go on to the next stage that makes calls; None where there is none."""
        self.stage += 1
        while self.stage < len(self.counts) and not self.counts[self.stage]:
            self.stage += 1
        return self.way.stages[self.stage] if self.stage < len(self.counts) else None


class _Tier:
    def __init__(self, name: str, spec: TierSpec) -> None:
        self.spec = spec
        self.workers = [SimulatedWorker(f"{name}-{i}", spec.worker) for i in range(spec.replicas)]
        self.balancer = build_balancer(spec.balancer)
        self.queue: deque[tuple[Asked, Work]] = deque()

    def free(self) -> list[SimulatedWorker]:
        limit = self.spec.max_in_flight
        return [w for w in self.workers if limit is None or w.in_flight < limit]


class Fleet:
    """Answers a trace.

    Args:
        tiers: By name.
        ways: How requests are answered.
        rng: Deals requests to ways.
    """

    def __init__(self, tiers: Mapping[str, TierSpec], ways: Sequence[Way], rng: Random) -> None:
        self.tiers = {name: _Tier(name, spec) for name, spec in tiers.items()}
        self._ways = ways
        self._rng = rng
        self._events: list[tuple[float, int, _Tier, SimulatedWorker, int]] = []
        self._owner: dict[int, Asked] = {}
        self._number = 0
        self._shared: tuple[str, ...] = ()

    def run(self, arrivals: Sequence[Arrival]) -> list[Asked]:
        """Return all requests of a trace once every one has ended, in the order they came."""
        asked = []
        self._shared = instructions(arrivals)
        for arrival in arrivals:
            self._until(arrival.at_s)
            request = Asked(arrival, *drawn(self._ways, self._rng))
            asked.append(request)
            self._go_on(request, arrival.at_s)
        self._until(math.inf)
        return asked

    def _until(self, now_s: float) -> None:
        while self._events and self._events[0][0] <= now_s:
            at_s, _, tier, worker, version = heapq.heappop(self._events)
            if version != worker.version:
                continue  # the stretch was cut short meanwhile
            done, ends_s = worker.advance(at_s)
            self._awake(tier, worker, ends_s)
            for work in done:
                self._ended(self._owner.pop(id(work)), work, at_s)
            self._drain(tier, at_s)

    def _awake(self, tier: _Tier, worker: SimulatedWorker, ends_s: float | None) -> None:
        if ends_s is not None:
            self._number += 1
            event = (ends_s, self._number, tier, worker, worker.version)
            heapq.heappush(self._events, event)

    def _go_on(self, request: Asked, now_s: float) -> None:
        stage = request.next_stage()
        if stage is None:
            _answered(request, now_s)
            return
        tier = self.tiers[stage.tier]
        request.open = request.counts[request.stage]
        for _ in range(request.open):
            length = request.arrival.answer * stage.length or stage.window
            prompt, blocks = request.arrival.prompt, request.arrival.blocks
            work = Work(prompt, max(1, round(length)), blocks, given_s=now_s)
            request.works.append((stage.tier, work))
            tier.queue.append((request, work))
        self._drain(tier, now_s)

    def _ended(self, request: Asked, work: Work, now_s: float) -> None:
        request.open -= 1
        if not request.open:
            self._go_on(request, now_s)

    def _drain(self, tier: _Tier, now_s: float) -> None:
        while tier.queue and (free := tier.free()):
            request, work = tier.queue.popleft()
            call = _call(request.arrival, self._shared) if len(free) > 1 else None
            worker = free[tier.balancer.pick(free, call) if call else 0]
            self._owner[id(work)] = request
            self._awake(tier, worker, worker.submit(work, now_s))


def _answered(request: Asked, now_s: float) -> None:
    """Note when the client saw what: by the last stage that made calls."""
    place = max(index for index, count in enumerate(request.counts) if count)
    stage, count = request.way.stages[place], request.counts[place]
    request.done_s = now_s
    if not stage.streams or count > 1:
        request.first_s = now_s
        return
    work = request.works[-1][1]
    held = min(1.0, max(0, stage.window - 1) / max(1, work.answer - 1))
    request.first_s = min(work.done_s, work.first_s + held * (work.done_s - work.first_s))


def instructions(arrivals: Sequence[Arrival]) -> tuple[str, ...]:
    """Return the blocks that more than half of all prompts begin with: a system prompt."""
    shared: list[str] = []
    while True:
        depth = len(shared)
        blocks = Counter(a.blocks[depth] for a in arrivals if len(a.blocks) > depth)
        block, count = blocks.most_common(1)[0] if blocks else ("", 0)
        if 2 * count <= len(arrivals):
            return tuple(shared)
        shared.append(block)


def _call(arrival: Arrival, shared: tuple[str, ...]) -> Call:
    """Return a call whose text begins as other prompts do that share blocks with it."""
    whole = arrival.blocks[: max(1, arrival.prompt // BLOCK_TOKENS)]
    system = shared if shared and whole[: len(shared)] == shared else ()
    own = "".join(_repeated(block) for block in whole[len(system) :])
    asked = own or _repeated(f"{arrival.at_s!r}/{arrival.prompt}/{arrival.answer}")
    told = ({"role": "system", "content": _repeated(" ".join(system))},) if system else ()
    messages = (*told, {"role": "user", "content": asked})
    request = ChatRequest(model="simulated", messages=messages)
    return Call(id=0, request=request, purpose="answer", deadline=math.inf)


def _repeated(name: str) -> str:
    """Return text that differs from another block's from its first characters on."""
    piece = f"{name} "
    return (piece * (BLOCK_TEXT // len(piece) + 1))[:BLOCK_TEXT]
