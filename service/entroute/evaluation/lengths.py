"""How long prompts and answers are, from a trace of requests or from means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, log, sqrt
from pathlib import Path
from statistics import NormalDist, fmean
from typing import Self

from entroute.errors import ConfigurationError
from entroute.evaluation.tables import read_table

_PAIRS = 120
_GOLDEN = 0.6180339887498949
_COLUMNS = ("arrival_s", "input_tokens", "output_tokens")


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request of a trace.

    Attributes:
        at_s: Seconds from the trace's begin.
        prompt: Tokens, at least 1.
        answer: Tokens, at least 1.
        blocks: Ids of the blocks that its prompt begins with, empty where the trace has none.
    """

    at_s: float
    prompt: int
    answer: int
    blocks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lengths:
    """Equally likely lengths of calls.

    Attributes:
        pairs: Prompt tokens and generated tokens, both above 0; at least one pair.
    """

    pairs: tuple[tuple[float, float], ...]

    @property
    def prompt(self) -> float:
        """Mean prompt, in tokens."""
        return fmean(prompt for prompt, _ in self.pairs)

    @property
    def answer(self) -> float:
        """Mean answer, in tokens."""
        return fmean(answer for _, answer in self.pairs)

    def scaled(self, *, prompt: float = 1.0, answer: float = 1.0) -> Self:
        """Return them with every prompt and every answer so many times as long, at least 1."""
        return type(self)(
            tuple((max(1.0, p * prompt), max(1.0, o * answer)) for p, o in self.pairs)
        )

    @classmethod
    def of(cls, arrivals: Sequence[Arrival], most: int = _PAIRS) -> Self:
        """Return the lengths of a trace: its pairs, thinned evenly by the work they are.

        Sorted by tokens and taken at the middle of equal shares, so that few pairs keep the
        distribution; scaled to the trace's own means.

        Raises:
            ConfigurationError: There are none.
        """
        if not arrivals:
            raise ConfigurationError("the trace holds no request")
        ranked = sorted((a.prompt, a.answer) for a in arrivals)
        count = min(most, len(ranked))
        kept = cls(tuple(ranked[int((i + 0.5) * len(ranked) / count)] for i in range(count)))
        prompt, answer = fmean(p for p, _ in ranked), fmean(o for _, o in ranked)
        return kept.scaled(prompt=prompt / kept.prompt, answer=answer / kept.answer)

    @classmethod
    def spread(cls, prompt: "Spread", answer: "Spread") -> Self:
        """Return lengths of two independent log-normal distributions.

        Each at the middle of equal shares, paired by the golden ratio's low-discrepancy order.
        """
        if not prompt.cv and not answer.cv:
            return cls(((prompt.mean, answer.mean),))
        shares = [((i + 0.5) / _PAIRS, (0.5 + i * _GOLDEN) % 1) for i in range(_PAIRS)]
        found = cls(tuple((prompt.at(a), answer.at(b)) for a, b in shares))
        return found.scaled(prompt=prompt.mean / found.prompt, answer=answer.mean / found.answer)


@dataclass(frozen=True, slots=True)
class Spread:
    """A length that varies.

    Attributes:
        mean: Tokens, at least 1.
        cv: Standard deviation over the mean, 0 or more.
    """

    mean: float
    cv: float = 0.0

    def at(self, share: float) -> float:
        """Return the length that a share (0, 1) of all do not exceed, at least 1 token."""
        variance = log(1 + self.cv**2)
        normal = NormalDist().inv_cdf(share)
        return max(1.0, exp(log(self.mean) - variance / 2 + sqrt(variance) * normal))


def read_trace(path: Path) -> list[Arrival]:
    """Read a trace, ordered by arrival: columns arrival_s, input_tokens, output_tokens.

    A column `prefix_blocks` (ids separated by spaces) is read where there is one.

    Args:
        path: A `.csv`, or `.csv.gz`.

    Raises:
        ConfigurationError: It cannot be read, lacks a column, holds no row, or one is no request.
    """
    arrivals = [_arrival(place, row) for place, row in read_table(path, _COLUMNS)]
    if not arrivals:
        raise ConfigurationError(f"{path}: holds no request")
    return sorted(arrivals, key=lambda arrival: arrival.at_s)


def _arrival(place: str, row: Mapping[str, str]) -> Arrival:
    try:
        at_s, prompt, answer = (float(row[name]) for name in _COLUMNS)
    except (TypeError, ValueError):
        raise ConfigurationError(f"{place}: {', '.join(_COLUMNS)} must be numbers") from None
    if not all(0 <= value < inf for value in (at_s, prompt, answer)):
        raise ConfigurationError(
            f"{place}: {', '.join(_COLUMNS)} must not be negative, nor without end"
        )
    blocks = tuple((row.get("prefix_blocks") or "").split())
    return Arrival(at_s, max(1, int(prompt)), max(1, int(answer)), blocks)
