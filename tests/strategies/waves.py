"""Stopping rules that do as they are told, and draws by them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from entroute.errors import WorkerFailed
from entroute.protocols import Run
from entroute.strategies.drawing import Draw, Manner, Step
from tests.builders import a_run, a_tier
from tests.fakes import voter
from tests.scripted import FakeBackend, Script, says

FAILED = WorkerFailed("w", "answered 500")


@dataclass
class Waves:
    """Draws waves of given sizes, one when the last has ended; remembers what it was shown."""

    most: int
    sizes: Sequence[int]
    shown: list[tuple[int, int]] = field(default_factory=list)

    def step(self, draw: Draw) -> Step:
        self.shown.append((len(draw.done), draw.live))
        if draw.live:
            return Step()
        wave = sum(1 for done, live in self.shown[:-1] if not live)
        size = self.sizes[min(wave, len(self.sizes) - 1)]
        return Step(draw=min(size, self.most - len(draw.calls)))


@dataclass
class Until:
    """Draws everything at once and stops when told by what is done."""

    most: int
    enough: Callable[[Draw], bool]

    def step(self, draw: Draw) -> Step:
        if not draw.calls:
            return Step(draw=self.most)
        return Step(stop="settled", answer="7") if self.enough(draw) else Step()


def says_that(answer: object, **facts: Any) -> Script:
    return says("The answer ", f"is {answer}.", **facts)


def drawing(*scripts: Script, **facts: Any) -> tuple[FakeBackend, Run]:
    backend = FakeBackend(*scripts)
    return backend, a_run(a_tier("small", backend), **facts)


def all_of(most: int) -> Manner:
    return Manner(Waves(most, [most]), voter())


def at(run: Run) -> Any:
    return run.tiers[0]
