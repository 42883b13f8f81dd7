"""Windows, amounts and how they are written."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.spending import RateLimits
from entroute.tenants.limits import (
    MINUTE,
    MONTH,
    UNLIMITED,
    limit_name,
    limits_of,
    micro_dollars,
    span,
    window_at,
)


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("moment", "start", "end"),
    [
        ("2026-11-23T18:00:59.999", "2026-11-01", "2026-12-01"),
        ("2026-12-31T23:59:59.999", "2026-12-01", "2027-01-01"),
        ("2027-01-01T00:00:00", "2027-01-01", "2027-02-01"),
        ("2028-02-29T12:00:00", "2028-02-01", "2028-03-01"),
    ],
)
def test_a_month_is_the_calendars_in_utc(moment: str, start: str, end: str) -> None:
    assert window_at(MONTH, ms(moment)) == (ms(start), ms(end))


@given(st.integers(0, 4_000_000_000_000))
def test_every_moment_lies_in_its_aligned_minute_and_month(moment: int) -> None:
    for kind in (MINUTE, MONTH):
        start, end = window_at(kind, moment)
        assert start <= moment < end
        assert window_at(kind, end)[0] == end  # the next begins where it ends
    start, end = window_at(MINUTE, moment)
    assert (start % 60_000, end - start) == (0, 60_000)


def test_limits_are_whole_amounts_and_absent_ones_are_unlimited() -> None:
    rates = RateLimits(requests_per_minute=3, cost_per_minute_usd=0.29, tokens_per_month=10)
    assert limits_of(rates) == ((3, UNLIMITED, 290_000), (UNLIMITED, 10, UNLIMITED))


def test_a_limit_of_less_than_a_micro_dollar_is_not_zero() -> None:
    assert limits_of(RateLimits(cost_per_month_usd=1e-9))[MONTH][2] == 1


@pytest.mark.parametrize(
    ("usd", "charged"), [(0.0, 0), (1e-7, 1), (0.1, 100_000), (0.1 + 0.2, 300_000)]
)
def test_costs_are_charged_in_whole_micro_dollars_rounded_up(usd: float, charged: int) -> None:
    assert micro_dollars(usd) == charged


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0s"), (1, "1s"), (12_000, "12s"), (60_000, "1m0s"), (3_723_001, "1h2m4s"), (-5, "0s")],
)
def test_a_span_reads_as_in_openais_headers(milliseconds: int, text: str) -> None:
    assert span(milliseconds) == text


def test_limits_are_named_as_keys_write_them() -> None:
    names = {limit_name(window, place) for window in (MINUTE, MONTH) for place in range(3)}
    assert names == set(RateLimits.__dataclass_fields__)
