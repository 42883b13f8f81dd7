from dataclasses import replace

import numpy as np
import pytest

from entroute.errors import ConfigurationError
from entroute.evaluation.runtime_fit import fit_runtime
from entroute.evaluation.samples import Sample
from tests.evaluation.banks import a_sample


def timed(count: int, seed: int = 0, noise_s: float = 0.0, prompt_s: float = 0.002) -> list[Sample]:
    """Return samples of a worker that takes .05 s a token."""
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(count):
        read, made = int(rng.integers(20, 400)), int(rng.integers(5, 300))
        seconds = prompt_s * read + 0.05 * made + abs(rng.normal(0, noise_s))
        plain = a_sample("So.", "small")
        samples.append(
            replace(plain, prompt_tokens=read, completion_tokens=made, latency_s=seconds)
        )
    return samples


def test_the_pace_of_a_worker_is_found_and_shared_by_its_batch() -> None:
    found = fit_runtime(timed(200), batch=8)
    assert found.prompt_s == pytest.approx(0.002 / 8)
    assert found.token_s == pytest.approx(0.05 / 8)
    assert found.stream_token_s == pytest.approx(0.05)
    assert found.batch == 8
    assert found.seconds(100, 50) == pytest.approx((0.2 + 2.5) / 8)


def test_a_worker_that_stood_still_for_a_while_keeps_its_pace() -> None:
    samples = timed(200, noise_s=0.01)
    slow = [
        replace(s, latency_s=s.latency_s + 60) if i % 20 == 0 else s for i, s in enumerate(samples)
    ]
    assert fit_runtime(slow, 1).token_s == pytest.approx(0.05, rel=0.1)


def test_no_rate_is_negative() -> None:
    samples = [
        replace(s, latency_s=s.completion_tokens * 0.05 - s.prompt_tokens * 1e-4)
        for s in timed(100)
    ]
    found = fit_runtime([s for s in samples if s.latency_s > 0], 1)
    assert found.prompt_s == 0
    assert found.token_s > 0


def test_too_few_samples_are_refused_with_how_many_are_needed() -> None:
    assert fit_runtime(timed(20), 1).token_s > 0
    with pytest.raises(ConfigurationError, match="needs 20 samples, the bank holds 19"):
        fit_runtime(timed(19), 1)


def test_times_that_do_not_grow_with_the_answer_are_refused() -> None:
    samples = [replace(s, latency_s=s.prompt_tokens * 0.01) for s in timed(50)]
    with pytest.raises(ConfigurationError, match="do not grow with the length of answers"):
        fit_runtime(samples, 1)
