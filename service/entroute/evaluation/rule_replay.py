"""Replay stopping rules over sampled answers: accuracy against samples, paired with all of them."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from entroute.errors import ConfigurationError
from entroute.evaluation.answer_rows import AnswerRow
from entroute.evaluation.rules import Draws, FixedRule, Rule, Stops, shuffled

Floats = NDArray[np.float64]

CELLS = 4_000_000  # rows x samples x samples that are tallied at once
RESAMPLES = 2000
LEVEL_STEPS = 10  # accuracy levels of a tenth each


@dataclass(frozen=True, slots=True)
class RuleReplay:
    """What a rule did with each row, averaged over the permutations.

    Attributes:
        rule: Its name.
        rows: The rows.
        accuracy: Share of permutations whose chosen answer is right, in [0, 1], a row.
        samples: Mean samples drawn, a row.
        accuracy_all: The same for the plurality of all samples, in the same orders.
        samples_all: Samples that each row has.
    """

    rule: str
    rows: tuple[AnswerRow, ...]
    accuracy: Floats
    samples: Floats
    accuracy_all: Floats
    samples_all: Floats


@dataclass(frozen=True, slots=True)
class RuleSummary:
    """A rule on some rows.

    Attributes:
        rule: Its name.
        n: Rows: a prompt under one configuration each.
        prompts: Different prompts among them, the units that are resampled.
        accuracy: In [0, 1], higher is better.
        samples_mean: Samples drawn a row.
        accuracy_all: Of the plurality of all samples.
        samples_all: Samples that there are a row.
        difference_low: Lower one-sided 95% bound of accuracy - accuracy_all, in [-1, 1].
    """

    rule: str
    n: int
    prompts: int
    accuracy: float
    samples_mean: float
    accuracy_all: float
    samples_all: float
    difference_low: float

    @property
    def difference(self) -> float:
        """Accuracy lost (below 0) or gained against all samples."""
        return self.accuracy - self.accuracy_all


def replay_rules(
    rows: Sequence[AnswerRow],
    rules: Sequence[Rule],
    *,
    seed: int = 0,
    permutations: int = 10,
    most: int | None = None,
) -> tuple[RuleReplay, ...]:
    """Have every rule draw from the same random orders of each row's samples.

    Args:
        rows: What to draw from.
        rules: Who draws.
        seed: Of the orders.
        permutations: Orders a row, at least 1.
        most: Cap on the samples that a rule may draw; None is all there are.

    Raises:
        ConfigurationError: Fewer than one permutation or sample, or no rows.
    """
    if permutations < 1 or (most is not None and most < 1):
        raise ConfigurationError("--permutations and --most: give at least 1")
    if not rows:
        raise ConfigurationError("there are no rows to replay a rule on")
    arms = (FixedRule(), *rules)
    right, drawn = np.zeros((2, len(arms), len(rows)))
    for where, draws in _orders(rows, seed, permutations):
        for arm, rule in enumerate(arms):
            stops = rule.stops(draws.first(most) if most is not None and arm else draws)
            right[arm, where] += _right(draws, stops) / permutations
            drawn[arm, where] += stops.drawn / permutations
    return tuple(
        RuleReplay(rule.name, tuple(rows), right[arm], drawn[arm], right[0], drawn[0])
        for arm, rule in enumerate(rules, start=1)
    )


def summary(
    result: RuleReplay, keep: NDArray[np.bool_] | None = None, *, seed: int = 0
) -> RuleSummary:
    """Average a replay over the rows that a mask keeps (all without one), with its bound.

    The bound resamples PROMPTS, not rows: the configurations of one prompt rise and fall together.
    """
    kept = np.arange(len(result.rows)) if keep is None else np.flatnonzero(keep)
    prompts = [result.rows[row].prompt for row in kept]
    difference = (result.accuracy - result.accuracy_all)[kept]
    return RuleSummary(
        rule=result.rule,
        n=len(kept),
        prompts=len(set(prompts)),
        accuracy=float(result.accuracy[kept].mean()),
        samples_mean=float(result.samples[kept].mean()),
        accuracy_all=float(result.accuracy_all[kept].mean()),
        samples_all=float(result.samples_all[kept].mean()),
        difference_low=lower_bound(difference, prompts, seed=seed),
    )


def by_model(result: RuleReplay) -> dict[str, NDArray[np.bool_]]:
    """Return a mask of rows for each model, by name."""
    return _masks([row.model or "unnamed" for row in result.rows])


def by_accuracy_level(result: RuleReplay) -> dict[str, NDArray[np.bool_]]:
    """Return a mask of rows for each tenth of accuracy that their configuration reaches.

    A configuration is a model at one task, prompt form and temperature; its level is its accuracy
    with all samples. A configuration that is right in every row belongs to the last tenth.
    """
    names = [(row.task, row.model, row.configuration) for row in result.rows]
    _, which = np.unique([repr(name) for name in names], return_inverse=True)
    reached = np.bincount(which, result.accuracy_all) / np.bincount(which)
    # Sums of tenths fall just below a whole one: 0.3 is of the level from 0.3.
    level = np.minimum((reached * LEVEL_STEPS + 1e-9).astype(int), LEVEL_STEPS - 1)
    return _masks(
        [f"{step / LEVEL_STEPS:.1f}-{(step + 1) / LEVEL_STEPS:.1f}" for step in level[which]]
    )


def lower_bound(
    differences: Floats, prompts: Sequence[str], *, seed: int = 0, share: float = 0.05
) -> float:
    """Bound the mean of `differences` from below, one-sided, by a bootstrap over prompts.

    With fewer than two prompts nothing is known: -1.
    """
    _, which = np.unique(np.asarray(prompts), return_inverse=True)
    sizes = np.bincount(which)
    units = len(sizes)
    if units < 2:  # noqa: PLR2004 - one prompt has no spread
        return -1.0
    sums = np.bincount(which, differences)
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(RESAMPLES):
        picked = rng.integers(0, units, units)
        means.append(sums[picked].sum() / sizes[picked].sum())
    return float(np.quantile(means, share))


def _right(draws: Draws, stops: Stops) -> Floats:
    taken = np.take_along_axis(draws.correct, stops.chosen[:, None], axis=1)[:, 0]
    return taken.astype(np.float64)


def _orders(
    rows: Sequence[AnswerRow], seed: int, permutations: int
) -> Iterator[tuple[NDArray[np.int64], Draws]]:
    """Yield rows of one size, as many as fit, in each of their orders."""
    sizes: dict[int, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        sizes[len(row.answers)].append(index)
    for size, found in sorted(sizes.items()):
        step = max(1, CELLS // size**2)
        for start in range(0, len(found), step):
            where = np.array(found[start : start + step])
            answers = np.array([[_number(a) for a in rows[i].answers] for i in where])
            correct = np.array([rows[i].correct for i in where])
            for permutation in range(permutations):
                rng = np.random.default_rng([seed, size, start, permutation])
                yield where, shuffled(answers, correct, rng)


def _number(answer: int | None) -> int:
    return -1 if answer is None else answer


def _masks(labels: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    array = np.asarray(labels)
    return {str(label): array == label for label in np.unique(array)}
