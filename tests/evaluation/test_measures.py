import math
from dataclasses import replace

import pytest

from entroute.confidence import tail_confidence
from entroute.evaluation.measures import digest_of, entropy_of, measured
from entroute.uncertainty import entropy_lower
from tests.evaluation.recorded import SAMPLE


def test_a_sample_is_measured_by_its_tokens() -> None:
    sample = measured(SAMPLE)
    entropies = sorted(entropy_lower(top) for top in SAMPLE.top)
    assert sample.entropy is not None
    assert sample.entropy.mean == pytest.approx(math.fsum(entropies) / 3, abs=1e-4)
    assert sample.entropy.max == sample.entropy.p90 == pytest.approx(entropies[-1], abs=1e-4)
    assert sample.entropy.tail == pytest.approx(tail_confidence(SAMPLE.token_logprobs), abs=1e-4)
    assert sample.mean_logprob == -0.1
    assert sample.digest == digest_of("Wie viele Äpfel?")
    assert len(sample.digest) == 32


def test_nine_tenths_of_the_tokens_are_at_most_as_uncertain_as_p90() -> None:
    sure, unsure = (0.0, -20.0), (-0.7, -0.7)
    tokens = replace(
        SAMPLE, tokens=("w",) * 20, logprobs=(0.0,) * 20, top=(sure,) * 18 + (unsure,) * 2
    ).token_logprobs
    entropy = entropy_of(tokens)
    assert entropy is not None
    assert entropy.p90 < 0.01 < entropy.max


def test_an_answer_without_log_probabilities_has_no_entropy() -> None:
    sample = measured(replace(SAMPLE, tokens=(), logprobs=(), top=()))
    assert (sample.entropy, sample.mean_logprob) == (None, None)


def test_what_is_asked_may_hold_half_a_surrogate_pair() -> None:
    assert digest_of("\ud800") != digest_of("?")
