"""Metrics of several processes as one page."""

import math
import re
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from entroute.processes.families import Families, Family, decode, encode, read, render
from entroute.processes.merging import GAUGES, Rule, added, merged

BOUNDS = (0.1, 0.5, 1.0, 5.0)
ROOT = Path(__file__).resolve().parents[2]

amounts = st.floats(0, 1e6, allow_nan=False)
counts = st.dictionaries(st.sampled_from("abc"), st.lists(amounts, max_size=4), max_size=3)
levels = st.dictionaries(st.sampled_from("abc"), st.floats(-1e6, 1e6, allow_nan=False), max_size=3)


@st.composite
def processes(draw: st.DrawFn) -> Families:
    """What one process counts: label sets of its own."""
    return counting(draw(counts), draw(counts), draw(levels), draw(levels))


def counting(
    increments: dict[str, list[float]],
    observed: dict[str, list[float]],
    busy: dict[str, float] | None = None,
    up: dict[str, float] | None = None,
) -> Families:
    registry = CollectorRegistry()
    counter = Counter("entroute_cost_usd", "Cost.", ("tier",), registry=registry)
    histogram = Histogram("entroute_took", "Time.", ("tier",), buckets=BOUNDS, registry=registry)
    inflight = Gauge("entroute_worker_inflight", "Calls.", ("tier",), registry=registry)
    worker_up = Gauge("entroute_worker_up", "Up.", ("tier",), registry=registry)
    for label, values in increments.items():
        for value in values:
            counter.labels(label).inc(value)
    for label, values in observed.items():
        for value in values:
            histogram.labels(label).observe(value)
    for label, value in (busy or {}).items():
        inflight.labels(label).set(value)
    for label, value in (up or {}).items():
        worker_up.labels(label).set(value)
    return read(registry)


def value(families: Families, sample: str, **labels: str) -> float | None:
    for family in families.values():
        found = family.series.get((sample, tuple(sorted(labels.items()))))
        if found is not None:
            return float(found)
    return None


def plain(families: Families) -> dict[str, dict[object, float]]:
    return {
        name: {series: float(value) for series, value in family.series.items()}
        for name, family in families.items()
    }


@given(st.lists(processes(), min_size=1, max_size=4), st.randoms())
def test_the_order_of_processes_does_not_matter(parts: list[Families], rng: Random):
    shuffled = list(parts)
    rng.shuffle(shuffled)
    assert plain(merged(parts, {})) == plain(merged(shuffled, {}))


@given(st.lists(processes(), min_size=1, max_size=4), st.data())
def test_who_ends_keeps_its_place_in_every_sum(parts: list[Families], data: st.DataObject):
    ended = data.draw(st.integers(0, len(parts)))
    together = merged(parts, {})
    after = merged(parts[ended:], added([added(parts[:ended])]))
    for name in ("entroute_cost_usd", "entroute_took"):
        assert plain(after)[name] == plain(together)[name]


@given(st.lists(processes(), min_size=1, max_size=6))
def test_ends_one_by_one_make_no_counter_fall(parts: list[Families]):
    gone: Families = {}
    before = plain(merged(parts, gone))["entroute_cost_usd"]
    for place in range(len(parts)):
        gone = added([gone, parts[place]])
        now = plain(merged(parts[place + 1 :], gone))["entroute_cost_usd"]
        assert all(now[series] >= amount for series, amount in before.items())
        before = now


@given(st.lists(processes(), min_size=1, max_size=4))
def test_sums_are_the_sums_of_each(parts: list[Families]):
    page = merged(parts, {})
    for label in "abc":
        for sample in ("entroute_cost_usd_total", "entroute_took_count", "entroute_took_sum"):
            each = [value(part, sample, tier=label) for part in parts]
            known = [one for one in each if one is not None]
            wanted = float(sum(map(Fraction, known))) if known else None
            assert value(page, sample, tier=label) == wanted


@given(st.lists(processes(), min_size=1, max_size=4))
def test_histograms_stay_cumulative(parts: list[Families]):
    text = render(merged(parts, {})).decode()
    for family in text_string_to_metric_families(text):
        if family.type != "histogram":
            continue
        for label in {sample.labels["tier"] for sample in family.samples}:
            mine = [sample for sample in family.samples if sample.labels["tier"] == label]
            buckets = [one for one in mine if one.name.endswith("_bucket")]
            assert [float(one.labels["le"]) for one in buckets] == [*BOUNDS, math.inf]
            assert all(low.value <= high.value for low, high in pairwise(buckets))
            (count,) = (one.value for one in mine if one.name.endswith("_count"))
            assert buckets[-1].value == count


@given(st.lists(processes(), min_size=1, max_size=4))
def test_gauges_follow_their_rules_and_the_dead_have_none(parts: list[Families]):
    page = merged(parts[1:], added(parts[:1]))
    for label in "abc":
        for sample, rule in (("entroute_worker_inflight", math.fsum), ("entroute_worker_up", min)):
            each = [value(part, sample, tier=label) for part in parts[1:]]
            known = [one for one in each if one is not None]
            assert value(page, sample, tier=label) == (rule(known) if known else None)


@given(processes())
def test_one_process_alone_is_its_own_page(part: Families):
    assert parsed(render(merged([part], {}))) == parsed(render(part))


@given(processes())
def test_what_is_sent_is_what_arrives(part: Families):
    assert decode(encode(part)) == part


@given(st.floats())
def test_numbers_that_json_does_not_know_arrive_too(number: float):
    part = {"entroute_x": Family("gauge", "X.", {("entroute_x", ()): number})}
    arrived = float(decode(encode(part))["entroute_x"].series["entroute_x", ()])
    assert arrived == number or (math.isnan(arrived) and math.isnan(number))


@given(st.text(), st.text())
def test_any_label_is_rendered_as_the_library_renders_it(label: str, text: str):
    registry = CollectorRegistry()
    Counter("entroute_x", text, ("tier",), registry=registry).labels(label).inc()
    Gauge("entroute_y", text, registry=registry).set(math.inf)
    assert render(decode(encode(read(registry)))) == generate_latest(registry)


def test_a_family_has_one_head_and_its_age_is_the_oldest_ones():
    old, young = counting({"a": [1]}, {}), counting({"a": [2], "b": [1]}, {})
    lines = render(merged([young, old], {})).decode().splitlines()
    assert lines.count("# TYPE entroute_cost_usd_total counter") == 1
    assert lines.count("# HELP entroute_cost_usd_total Cost.") == 1
    created = "entroute_cost_usd_created"
    ages = [value(part, created, tier="a") for part in (old, young)]
    assert value(merged([young, old], {}), created, tier="a") == min(filter(None, ages))


def test_a_gauge_without_a_rule_tells_the_most():
    parts = [{"x": Family("gauge", "", {("x", ()): each})} for each in (1.0, math.nan, 3.0)]
    assert value(merged(parts, {}), "x") == 3.0


def test_every_exported_gauge_has_a_declared_rule():
    rows = (ROOT / "docs" / "metrics.md").read_text()
    gauges = set(re.findall(r"^\| `(\w+)` \| gauge \|", rows, re.MULTILINE))
    assert gauges >= {"entroute_worker_up", "entroute_requests_in_flight"}
    assert gauges - GAUGES.keys() == set()
    assert set(GAUGES.values()) == set(Rule)


def parsed(text: bytes) -> list[tuple[str, dict[str, str], float]]:
    return [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    ]
