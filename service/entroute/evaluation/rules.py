"""Stopping rules on answers alone: what each would have drawn and chosen, for many rows at once.

The rules ask the same functions as the served strategies; only the bookkeeping is in arrays.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from entroute.errors import ConfigurationError
from entroute.uncertainty import beta_settled
from entroute.voting import plurality_settled

RuleName = Literal["reasc", "adaptive", "esc", "fixed"]
Integers = NDArray[np.int64]

ADAPTIVE_LEVEL = 0.95
"""Adaptive consistency's published level (2305.11860)."""

REASC_LEVEL = 0.95
"""Of `voting.plurality_settled`."""

ESC_WINDOW = 5
"""Samples of a window (2401.10480)."""


@dataclass(frozen=True, slots=True)
class Draws:
    """Rows of equally many samples, each drawn in a random order without replacement.

    All arrays are rows x samples. An answer is named by the position of its first draw.

    Attributes:
        answers: Answer of each sample, -1 for an unparsable one.
        correct: Whether each sample is right.
        leader: After each sample the answer with the most votes, ties to the first drawn; 0 before
            there is any vote.
        votes: Its votes.
        runner_up: Votes of the second answer.
    """

    answers: Integers
    correct: NDArray[np.bool_]
    leader: Integers
    votes: Integers
    runner_up: Integers

    @property
    def most(self) -> int:
        """How many samples each row has."""
        return int(self.answers.shape[1])

    def first(self, most: int) -> "Draws":
        """Leave only the first `most` draws of each row: a smaller cap."""
        return replace(
            self,
            answers=self.answers[:, :most],
            correct=self.correct[:, :most],
            leader=self.leader[:, :most],
            votes=self.votes[:, :most],
            runner_up=self.runner_up[:, :most],
        )


@dataclass(frozen=True, slots=True)
class Stops:
    """What a rule did with each row.

    Attributes:
        drawn: Samples drawn, at least 1.
        chosen: Position of the sample it answers with.
    """

    drawn: Integers
    chosen: Integers


class Rule(Protocol):
    """Decides when to stop drawing, and for which answer."""

    @property
    def name(self) -> str:
        """Its name in reports."""
        ...

    def stops(self, draws: Draws) -> Stops:
        """Say for each row when it stops and what it chooses."""
        ...


def shuffled(answers: Integers, correct: NDArray[np.bool_], rng: np.random.Generator) -> Draws:
    """Draw every row's samples in an order of its own; -1 as an answer is unparsable."""
    rows, samples = answers.shape
    order = np.argsort(rng.random((rows, samples)), axis=1)
    classes = np.take_along_axis(answers, order, axis=1)
    first = (classes[:, :, None] == classes[:, None, :]).argmax(axis=2)
    parsed = classes >= 0
    tally = np.zeros((rows, samples, samples), dtype=np.int16)
    np.put_along_axis(tally, first[:, :, None], parsed[:, :, None].astype(np.int16), axis=2)
    tally = tally.cumsum(axis=1, dtype=np.int16)
    leader = tally.argmax(axis=2)
    votes = np.take_along_axis(tally, leader[:, :, None], axis=2)[:, :, 0]
    np.put_along_axis(tally, leader[:, :, None], 0, axis=2)
    return Draws(
        answers=np.where(parsed, first, -1),
        correct=np.take_along_axis(correct, order, axis=1),
        leader=leader,
        votes=votes.astype(np.int64),
        runner_up=tally.max(axis=2).astype(np.int64),
    )


@dataclass(frozen=True, slots=True)
class FixedRule:
    """Plain self-consistency: a number of samples known beforehand.

    Attributes:
        most: How many, fewer where a row has fewer; None is all of them.
        name: Its name.
    """

    most: int | None = None
    name: str = "fixed"

    def stops(self, draws: Draws) -> Stops:
        """See `Rule.stops`."""
        budget = draws.most if self.most is None else min(self.most, draws.most)
        drawn = np.full(len(draws.leader), budget, dtype=np.int64)
        return Stops(drawn, draws.leader[:, budget - 1])


@dataclass(frozen=True, slots=True)
class CountRule:
    """Looks at the votes after each sample.

    Attributes:
        name: Its name.
        settled: Whether to stop, of the leader's votes, the runner-up's, the samples for neither
            and the samples left.
    """

    name: str
    settled: Callable[[int, int, int, int], bool]

    def stops(self, draws: Draws) -> Stops:
        """See `Rule.stops`."""
        side = draws.most + 1
        drawn = np.arange(1, side)
        states = (drawn[None, :] * side + draws.votes) * side + draws.runner_up
        known = np.zeros(side**3, dtype=np.bool_)
        for state in np.flatnonzero(np.bincount(states.ravel(), minlength=side**3)):
            count, votes, runner_up = state // side**2, state // side % side, state % side
            others, left = int(count - votes - runner_up), int(draws.most - count)
            known[state] = not left or self.settled(int(votes), int(runner_up), others, left)
        last = known[states].argmax(axis=1)
        return Stops(last + 1, np.take_along_axis(draws.leader, last[:, None], axis=1)[:, 0])


@dataclass(frozen=True, slots=True)
class WindowRule:
    """Stops on a unanimous window and answers with it; else the plurality of all samples.

    Attributes:
        window: Samples of a window, 2 and up; a last window with fewer never stops it.
        name: Its name.

    Source: ESC (2401.10480), algorithm 1.
    """

    window: int = ESC_WINDOW
    name: str = "esc"

    def stops(self, draws: Draws) -> Stops:
        """See `Rule.stops`."""
        drawn = np.full(len(draws.leader), draws.most, dtype=np.int64)
        chosen = draws.leader[:, -1].copy()
        running = np.ones(len(drawn), dtype=np.bool_)
        for end in range(self.window, draws.most + 1, self.window):
            seen = draws.answers[:, end - self.window : end]
            agreed = running & (seen == seen[:, :1]).all(axis=1) & (seen[:, 0] >= 0)
            drawn[agreed], chosen[agreed] = end, seen[agreed, 0]
            running &= ~agreed
        return Stops(drawn, chosen)


def rule_named(name: RuleName, level: float | None = None) -> Rule:
    """Return a rule by its name; `level` in [0.5, 1) is of `reasc` and `adaptive` alone.

    `reasc` sees no confidences here: every vote counts once, and it stops by
    `voting.plurality_settled`. `adaptive` is the Beta criterion after every sample.

    Raises:
        ConfigurationError: The level is out of range or the rule has none.
    """
    if level is not None and not 0.5 <= level < 1:  # noqa: PLR2004 - a coin decides as well
        raise ConfigurationError(f"--level is {level}: give a probability in [0.5, 1)")
    if level is not None and name in ("esc", "fixed"):
        raise ConfigurationError(f"--level: {name} has no level; leave it out")
    if name == "esc":
        return WindowRule()
    if name == "fixed":
        return FixedRule()
    if name == "adaptive":
        return CountRule(name, _beta(ADAPTIVE_LEVEL if level is None else level))
    return CountRule(name, _plurality(REASC_LEVEL if level is None else level))


def _beta(level: float) -> Callable[[int, int, int, int], bool]:
    return lambda leader, runner_up, _others, _left: beta_settled(leader, runner_up, level)


def _plurality(level: float) -> Callable[[int, int, int, int], bool]:
    return lambda leader, runner_up, others, left: plurality_settled(
        leader, runner_up, others, left, level
    )
