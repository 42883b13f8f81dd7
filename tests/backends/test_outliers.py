"""Workers that stand out among the others of their tier."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.backends.outliers import (
    OutlierLimits,
    Outliers,
    Record,
    TimesKey,
    dawdling,
    failing,
)

LIMITS = OutlierLimits(interval_s=10, requests=20, slow_factor=3)
STREAM: TimesKey = (True, 4)


def rated(good: int, bad: int) -> Record:
    return Record(good=good, bad=bad)


def timed(seconds: float, count: int = 20, key: TimesKey = STREAM) -> Record:
    record = Record()
    for _ in range(count):
        record.answered(seconds, key)
    return record


@dataclass(eq=False)
class FakeCompared:
    """A worker that was told what it did."""

    record: Record = field(default_factory=lambda: timed(0.2))
    admits: bool = True
    ejected: bool = False
    warming: bool = False
    reasons: list[str] = field(default_factory=list)
    pardons: int = 0

    def take_record(self) -> Record:
        return self.record

    def eject(self, why: str, limits: OutlierLimits) -> None:
        assert limits.interval_s == LIMITS.interval_s
        self.ejected = True
        self.reasons.append(why)

    def pardon(self) -> None:
        self.pardons += 1


def compared(members: list[FakeCompared], limits: OutlierLimits = LIMITS) -> Outliers:
    outliers = Outliers(limits)
    outliers.compare(members, 0)
    outliers.compare(members, limits.interval_s)
    return outliers


@pytest.mark.parametrize(
    ("records", "found"),
    [
        ([rated(20, 0), rated(14, 6)], {1}),  # two are enough
        ([rated(20, 0), rated(19, 0)], set()),  # the second had too few
        ([rated(40, 0), rated(19, 1)], set()),  # one failure of twenty is chance
        ([rated(98, 2), rated(97, 3), rated(80, 20), rated(99, 1)], {2}),
        ([rated(80, 20), rated(70, 30), rated(78, 22), rated(72, 28)], set()),  # all alike
        ([rated(100, 0), rated(0, 20), rated(100, 0), rated(0, 0)], {1}),
        ([], set()),
        ([rated(0, 50)], set()),  # alone nobody stands out
    ],
)
def test_who_succeeds_far_less_than_the_others_is_found(
    records: list[Record], found: set[int]
) -> None:
    assert failing(records, LIMITS).keys() == found


def test_envoys_rule_could_not_find_the_worst_of_four() -> None:
    """A worker that fails always is sqrt(3) < 1.9 deviations from the mean of all four."""
    rates = [1.0, 1.0, 1.0, 0.0]
    mean = sum(rates) / 4
    deviation = (sum((rate - mean) ** 2 for rate in rates) / 4) ** 0.5
    assert rates[3] > mean - 1.9 * deviation
    assert failing([rated(20, 0)] * 3 + [rated(0, 20)], LIMITS).keys() == {3}


@given(st.lists(st.tuples(st.integers(20, 200), st.integers(0, 200)), min_size=2, max_size=8))
def test_the_best_is_never_found_failing(counts: list[tuple[int, int]]) -> None:
    records = [rated(good, bad) for good, bad in counts]
    best = max(range(len(records)), key=lambda place: records[place].rate)
    assert best not in failing(records, LIMITS)


@pytest.mark.parametrize(
    ("records", "found"),
    [
        ([timed(0.1), timed(0.5)], {1}),
        ([timed(0.1), timed(0.25)], set()),  # not three times as slow
        ([timed(0.001), timed(0.09)], set()),  # nobody feels that
        ([timed(0.1), timed(0.5, count=19)], set()),  # too few
        ([timed(0.1), timed(0.5, key=(True, 6))], set()),  # longer prompts
        ([timed(0.1), timed(0.5, key=(False, 4))], set()),  # whole answers
        ([timed(0.1), timed(0.1), timed(0.1), timed(9.0)], {3}),
        ([timed(9.0)], set()),
    ],
)
def test_who_is_far_slower_than_the_others_at_prompts_alike_is_found(
    records: list[Record], found: set[int]
) -> None:
    assert dawdling(records, LIMITS).keys() == found


def test_slow_ones_are_left_alone_where_that_is_wanted() -> None:
    limits = OutlierLimits(slow_factor=None)
    assert dawdling([timed(0.1), timed(9.0)], limits) == {}


def test_a_record_keeps_a_bounded_number_of_times() -> None:
    record = timed(0.1, count=2000)
    assert record.good == 2000
    assert len(record.times_s[STREAM]) < 1000


def test_they_are_compared_once_an_interval() -> None:
    members = [FakeCompared(), FakeCompared(timed(2.0))]
    outliers = Outliers(LIMITS)
    for now, ejected in ((0, False), (9.9, False), (10, True)):
        outliers.compare(members, now)
        assert members[1].ejected is ejected
    assert outliers.ejections == {"slowness": 1}
    assert members[1].reasons == ["2.000 s to answer, the others 0.200 s"]
    assert [member.pardons for member in members] == [1, 0]


@pytest.mark.parametrize(
    ("workers", "bad", "share", "ejected"),
    [
        (2, 1, 0.34, 1),
        (3, 1, 0.34, 1),
        (6, 2, 0.34, 2),
        (9, 3, 0.34, 3),
        (9, 1, 0.1, 1),
        (9, 3, 0.0, 0),
    ],
)
def test_no_more_than_a_share_is_ejected(
    workers: int, bad: int, share: float, ejected: int
) -> None:
    members = [FakeCompared(rated(10, 40)) for _ in range(bad)]
    members += [FakeCompared(rated(100, 0)) for _ in range(workers - bad)]
    compared(members, OutlierLimits(max_ejected=share))
    assert sum(member.ejected for member in members[:bad]) == ejected
    assert not any(member.ejected for member in members[bad:])


@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=1, max_size=12),
    st.floats(0, 1),
)
def test_never_more_than_the_share_and_never_all_are_ejected(
    counts: list[tuple[int, int]], share: float
) -> None:
    members = [FakeCompared(rated(good, bad)) for good, bad in counts]
    compared(members, OutlierLimits(max_ejected=share))
    ejected = sum(member.ejected for member in members)
    assert ejected <= max(1, share * len(members))
    assert ejected < len(members)


def test_the_worst_goes_first() -> None:
    members = [FakeCompared(rated(100, 0)) for _ in range(4)]
    members += [FakeCompared(rated(60, 40)), FakeCompared(rated(10, 90))]
    compared(members, OutlierLimits(max_ejected=0.2))
    assert [member.ejected for member in members] == [False] * 5 + [True]


def test_the_last_that_can_be_called_is_never_ejected() -> None:
    members = [FakeCompared(timed(9.0)), FakeCompared(admits=False), FakeCompared(admits=False)]
    compared(members)
    assert not members[0].ejected


def test_one_that_warms_up_may_be_slow_but_not_fail() -> None:
    members = [FakeCompared(), FakeCompared(), FakeCompared(timed(9.0), warming=True)]
    compared(members)
    assert not members[2].ejected
    assert members[2].pardons == 0
    members[2].record = rated(0, 30)
    compared(members)
    assert members[2].ejected


def test_who_is_ejected_is_neither_ejected_again_nor_pardoned() -> None:
    members = [FakeCompared(), FakeCompared(), FakeCompared(rated(0, 30), ejected=True)]
    outliers = compared(members)
    assert not outliers.ejections
    assert members[2].pardons == 0
