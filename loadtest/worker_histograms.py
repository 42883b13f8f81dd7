"""A fake worker's distributions, in vLLM's buckets."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

FIRST_TOKEN_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
BETWEEN_TOKENS_S = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
REQUEST_S = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)
TOKENS = tuple(float(digit * 10**power) for power in range(5) for digit in (1, 2, 5))


@dataclass(slots=True)
class Histogram:
    """How often a value was at most each bound.

    Attributes:
        bounds: Upper bounds of the buckets, rising.
    """

    bounds: tuple[float, ...]
    _counts: list[int] = field(init=False)
    _sum: float = 0.0

    def __post_init__(self) -> None:
        self._counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value, so many times."""
        self._counts[bisect_left(self.bounds, value)] += times
        self._sum += value * times

    def samples(self, name: str, labels: str) -> Iterator[str]:
        """Yield its lines of a page; `labels` are those without `le`."""
        total = 0
        for bound, count in zip((*self.bounds, "+Inf"), self._counts, strict=True):
            total += count
            yield f'{name}_bucket{{{labels},le="{bound}"}} {float(total)}'
        yield f"{name}_count{{{labels}}} {float(total)}"
        yield f"{name}_sum{{{labels}}} {self._sum}"


@dataclass(slots=True)
class Distributions:
    """All of one worker: seconds, and tokens a request.

    Attributes:
        queue_s: Waiting for a place.
        first_token_s: From arrival.
        between_tokens_s: From each token to the next of its sample.
        prefill_s: From its place to the first token.
        decode_s: From the first token to the end.
        request_s: From arrival to the end.
        prompt_tokens: Of prompts.
        generated_tokens: Of answers, all samples of a request together.
    """

    queue_s: Histogram = field(default_factory=lambda: Histogram(REQUEST_S))
    first_token_s: Histogram = field(default_factory=lambda: Histogram(FIRST_TOKEN_S))
    between_tokens_s: Histogram = field(default_factory=lambda: Histogram(BETWEEN_TOKENS_S))
    prefill_s: Histogram = field(default_factory=lambda: Histogram(REQUEST_S))
    decode_s: Histogram = field(default_factory=lambda: Histogram(REQUEST_S))
    request_s: Histogram = field(default_factory=lambda: Histogram(REQUEST_S))
    prompt_tokens: Histogram = field(default_factory=lambda: Histogram(TOKENS))
    generated_tokens: Histogram = field(default_factory=lambda: Histogram(TOKENS))
