import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.intervals import paired_bootstrap, wilson


@pytest.mark.parametrize(
    ("successes", "trials", "expected"),
    [
        (8, 10, (0.4902, 0.9433)),
        (0, 10, (0.0, 0.2775)),
        (10, 10, (0.7225, 1.0)),
        (50, 100, (0.4038, 0.5962)),
    ],
)
def test_wilson_gives_the_published_values(successes, trials, expected):
    assert wilson(successes, trials) == pytest.approx(expected, abs=1e-4)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_inside_0_and_1(counts):
    successes, trials = counts
    low, high = wilson(successes, trials)
    assert 0 <= low <= successes / trials + 1e-12
    assert successes / trials - 1e-12 <= high <= 1


def test_wilson_refuses_no_trials():
    with pytest.raises(ValueError, match="at least one"):
        wilson(0, 0)


def test_bootstrap_narrows_around_the_mean():
    differences = [1.0] * 30 + [0.0] * 70
    low, high = paired_bootstrap(differences, random.Random(0), resamples=2000)  # noqa: S311
    assert 0.15 < low < 0.3 < high < 0.45


def test_bootstrap_of_equal_arms_is_zero():
    assert paired_bootstrap([0.0] * 10, random.Random(0), resamples=100) == (0.0, 0.0)  # noqa: S311
