"""What one worker does at a rate of calls, in the mean: batch, pace, reading, the most it can."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import fmean

from entroute.evaluation.lengths import Lengths
from entroute.evaluation.step_times import Step, StepTimes

_GRID = 48
_HALVINGS = 40


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker as a scheduler of steps.

    Attributes:
        steps: How long its steps take.
        most_answers: Answers it writes at once, at least 1 (vLLM's `max_num_seqs`).
        step_tokens: Tokens of one step at most (vLLM's `max_num_batched_tokens`).
        kv_tokens: Tokens that its KV cache holds; None: never what limits it.
    """

    steps: StepTimes
    most_answers: int = 256
    step_tokens: int = 2048
    kv_tokens: int | None = None

    def room(self, lengths: Lengths) -> int:
        """Return how many answers of these lengths it writes at once, at least 1."""
        if self.kv_tokens is None:
            return self.most_answers
        return max(1, min(self.most_answers, int(self.kv_tokens / _held(lengths))))


@dataclass(frozen=True, slots=True)
class Busy:
    """A worker at a rate of calls.

    Attributes:
        batch: Answers being written, in the mean.
        token_s: Seconds between two tokens of one answer, in the mean.
        readings: Seconds to read the prompts, one for each pair of lengths, once it is their turn.
        step_s: Seconds of a step that reads nothing: what a new prompt may have to await.
    """

    batch: float
    token_s: float
    readings: tuple[float, ...]
    step_s: float


def busy_at(worker: Worker, rate: float, lengths: Lengths, cached: float = 0.0) -> Busy | None:
    """Return how a worker fares at so many calls a second, None where it falls behind.

    Prompts are read one after the other, the answers being written go on in the same steps. With
    R the share of time in which prompts are read, an answer gets s = lambda E[steps of a reading] +
    (1 - R) / step tokens a second, and Little's law closes the circle: batch = lambda (o - 1) / s.
    The least such batch is the one a worker settles at.

    Args:
        worker: Which.
        rate: Calls a second, 0 or more.
        lengths: Of the calls.
        cached: Share of prompt tokens that its prefix cache holds, [0, 1).

    Source: Little (1961); the shape of a step after Orca (Yu et al., OSDI 2022) and Sarathi-Serve
    (2403.02310).
    """
    most = worker.room(lengths)

    def missing(batch: float) -> float | None:
        pace = _pace(worker, rate, lengths, cached, batch)
        return None if pace is None else rate * (lengths.answer - 1) / pace - batch

    low = 0.0
    for point in range(_GRID + 1):
        high = most * (point / _GRID) ** 2
        found = missing(high)
        if found is None:
            return None
        if found <= 0:
            return _busy(worker, rate, lengths, cached, _between(missing, low, high))
        low = high
    return None


def capacity(worker: Worker, lengths: Lengths, cached: float = 0.0) -> float:
    """Return the most calls a second that a worker keeps up with, 0 for none. See `busy_at`."""
    reading = fmean(_readings(worker, lengths, cached, 0.0))
    # Where reading takes no time of its own, each prompt still takes one of the steps that write.
    low, high = 0.0, 1 / (reading or worker.steps.seconds(Step(writing=1)))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if busy_at(worker, middle, lengths, cached) is None:
            high = middle
        else:
            low = middle
        if high - low < 1e-3 * high:
            break
    return low


def _busy(worker: Worker, rate: float, lengths: Lengths, cached: float, batch: float) -> Busy:
    pace = _pace(worker, rate, lengths, cached, batch) or 1.0
    readings = tuple(_readings(worker, lengths, cached, batch))
    return Busy(batch, 1 / pace, readings, _writing_s(worker, lengths, batch))


def _pace(
    worker: Worker, rate: float, lengths: Lengths, cached: float, batch: float
) -> float | None:
    """Return tokens a second of one answer, None where reading leaves no time at all."""
    reading = rate * fmean(_readings(worker, lengths, cached, batch))
    if reading >= 1:
        return None
    chunks = fmean(_chunks(worker, _unread(p, cached), batch) for p, _ in lengths.pairs)
    return rate * chunks + (1 - reading) / _writing_s(worker, lengths, batch)


def _readings(worker: Worker, lengths: Lengths, cached: float, batch: float) -> Sequence[float]:
    """Return the seconds to read each prompt, with so many answers going on beside it."""
    writing, context = round(batch), batch * _held(lengths)
    found = []
    for prompt, _ in lengths.pairs:
        unread = _unread(prompt, cached)
        chunks = _chunks(worker, unread, batch)
        # Every token looks at what is before it: the cached part, and half of the rest.
        pairs = unread * (prompt - unread / 2) / chunks
        full = max(1, worker.step_tokens - writing)
        last = unread - (chunks - 1) * full
        one = worker.steps.seconds(Step(round(last), writing, context, pairs))
        more = worker.steps.seconds(Step(full, writing, context, pairs)) if chunks > 1 else 0.0
        found.append(one + (chunks - 1) * more)
    return found


def _writing_s(worker: Worker, lengths: Lengths, batch: float) -> float:
    return worker.steps.seconds(Step(0, max(1, round(batch)), batch * _held(lengths)))


def _unread(prompt: float, cached: float) -> float:
    return max(1.0, prompt * (1 - cached))


def _chunks(worker: Worker, unread: float, batch: float) -> int:
    return ceil(unread / max(1, worker.step_tokens - round(batch)))


def _held(lengths: Lengths) -> float:
    """Return the KV entries of an answer being written, in the mean over its tokens.

    Long answers are met more often than short ones: each pair weighs with its answer.
    """
    weights = sum(answer for _, answer in lengths.pairs)
    return sum((p + o / 2) * o for p, o in lengths.pairs) / weights


def _between(missing: Callable[[float], float | None], low: float, high: float) -> float:
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        found = missing(middle)
        if found is not None and found > 0:
            low = middle
        else:
            high = middle
    return high
