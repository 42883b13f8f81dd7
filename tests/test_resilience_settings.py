"""How workers that fail are spared, as it is configured."""

from typing import Any

import pytest
from pydantic import ValidationError

from entroute.backends.breaker import BreakerLimits
from entroute.backends.outliers import OutlierLimits
from entroute.resilience_settings import BreakerSettings, OutlierSettings
from entroute.settings import Settings

TIERS: list[dict[str, Any]] = [
    {"name": "small", "model": "m", "workers": [{"url": "http://127.0.0.1:1/v1"}]}
]


def test_what_is_left_out_is_what_the_parts_have() -> None:
    assert BreakerSettings().build() == BreakerLimits()
    assert OutlierSettings().build() == OutlierLimits()


def test_what_is_given_is_taken() -> None:
    settings = Settings.model_validate(
        {
            "tiers": TIERS,
            "breaker": {"failures": 2, "open_s": 1},
            "outliers": {"slow_factor": None, "max_ejected": 0},
            "slow_start_s": 0,
        }
    )
    assert settings.breaker.build() == BreakerLimits(failures=2, open_s=1)
    assert settings.outliers.build() == OutlierLimits(slow_factor=None, max_ejected=0)
    assert settings.slow_start_s == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"breaker": {"open_s": 90}}, "max_open_s must be at least open_s"),
        ({"breaker": {"failures": 0}}, "breaker.failures"),
        ({"breaker": {"rate": 1.1}}, "breaker.rate"),
        ({"outliers": {"slow_factor": 1}}, "outliers.slow_factor"),
        ({"outliers": {"max_ejected": 2}}, "outliers.max_ejected"),
        ({"slow_start_s": -1}, "slow_start_s"),
        ({"breaker": {"failure": 1}}, "breaker.failure"),
    ],
)
def test_what_cannot_be_is_refused_by_its_path(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"tiers": TIERS, **wrong})
    error = caught.value.errors()[0]
    path = ".".join(map(str, error["loc"]))
    assert said in f"{path}: {error['msg']}"
