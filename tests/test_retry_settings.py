import pytest
from pydantic import ValidationError

from entroute.backends.retrying import Retries
from entroute.resilience_settings import RetrySettings


def test_unconfigured_retries_are_what_pools_do_by_themselves() -> None:
    assert RetrySettings().build() == Retries()
    assert RetrySettings().hedge_after_s is None


def test_milliseconds_become_seconds() -> None:
    settings = RetrySettings(
        attempts=2, base_ms=10, max_ms=500, budget=0.5, min_per_s=3, hedge_after_ms=1500
    )
    assert settings.build() == Retries(2, 0.01, 0.5, 0.5, 3)
    assert settings.hedge_after_s == 1.5


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0},
        {"base_ms": -1},
        {"base_ms": 300},
        {"max_ms": 10},
        {"budget": 1.5},
        {"min_per_s": -1},
        {"hedge_after_ms": 0},
        {"hedging": True},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RetrySettings.model_validate(wrong)
