"""What load leaves of a request's calls, and that it never leaves too little for an answer."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.decisions import Load, TierLoad
from entroute.difficulty.probe import ProbeConfig
from entroute.ledger import Ledger
from entroute.priorities import PRIORITIES, Priority
from entroute.protocols import Run
from entroute.routing.options import Option
from entroute.routing.options import under_load as plans_under_load
from entroute.shedding import Shedding, ShedLimits
from entroute.strategies import DEFAULT_STRATEGIES, StrategyConfig, build_strategy
from entroute.strategies.cascade import CascadeConfig
from tests.builders import a_budget, a_request, a_run, a_tier
from tests.fakes import FakeSandbox, FakeVerifier, executed, strategy_parts
from tests.profiles import a_plan
from tests.scripted import FakeBackend, FakeClock, Script, says

LIMITS = ShedLimits(0.8)
PRESSURES = st.floats(0, 3)


def busy(pressure: float) -> Callable[[], Load]:
    """Return what reads a load at which both tiers are under a pressure."""
    tier = TierLoad(in_flight=round(pressure * 1000), workers=1, healthy=1, capacity=1000)
    return lambda: Load({"small": tier, "large": tier})


def a_ledger(pressure: float, priority: Priority = "normal", most: int = 16) -> Ledger:
    shed = Shedding(LIMITS, busy(pressure)).of(priority, 1)
    return Ledger(a_budget(max_calls=most), {}, FakeClock(), shed)


@pytest.mark.parametrize(
    ("priority", "begins", "ends"), [("low", 0.6, 0.8), ("normal", 0.8, 1.0), ("high", 1.0, 1.2)]
)
def test_a_lower_priority_shrinks_first(priority: Priority, begins: float, ends: float) -> None:
    assert LIMITS.left(begins, priority, 16) == 16
    assert LIMITS.left((begins + ends) / 2, priority, 17) == 9
    assert LIMITS.left(ends + 1e-9, priority, 16) == 1


@given(PRESSURES, PRESSURES, st.sampled_from(PRIORITIES), st.integers(1, 64), st.integers(1, 64))
def test_more_pressure_never_leaves_more(
    one: float, other: float, priority: Priority, most: int, least: int
) -> None:
    low, high = sorted((one, other))
    left = LIMITS.left(high, priority, most, least)
    assert min(most, least) <= left <= LIMITS.left(low, priority, most, least) <= most


@given(PRESSURES, st.integers(1, 64))
def test_a_higher_priority_never_has_fewer(pressure: float, most: int) -> None:
    low, normal, high = (LIMITS.left(pressure, priority, most) for priority in PRIORITIES)
    assert low <= normal <= high


def test_queued_calls_count_as_pressure_and_no_worker_is_none() -> None:
    full = TierLoad(in_flight=8, workers=2, healthy=1, queued=4, capacity=8)
    assert full.pressure == 1.5
    assert TierLoad(in_flight=0, workers=2, healthy=0).pressure == 0


def test_samples_shrink_and_it_is_noted_once() -> None:
    shedding = Shedding(LIMITS, busy(0.9))
    ledger = Ledger(a_budget(max_calls=9), {}, FakeClock(), shedding.of("normal", 1))
    assert ledger.room("small", a_request(), 9) == 5
    assert ledger.room("small", a_request(), 8) == 5
    assert ledger.shed.noted
    assert shedding.counts == {"samples": 1}


def test_what_load_leaves_enough_of_is_not_noted() -> None:
    ledger = a_ledger(0.9)
    assert ledger.room("small", a_request(), 3) == 3
    assert not ledger.shed.noted


def test_calls_that_were_made_count() -> None:
    ledger = a_ledger(0.9, most=9)
    for _ in range(3):
        ledger.reserve("small", a_request(), "sample")
    assert ledger.room("small", a_request(), 9, first=3) == 2


@given(PRESSURES, st.integers(0, 15))
def test_load_refuses_no_call_that_the_budget_holds(pressure: float, made: int) -> None:
    ledger = a_ledger(pressure)
    for _ in range(made):
        ledger.reserve("small", a_request(), "sample")
    assert ledger.room("small", a_request(), 1) == 1
    ledger.reserve("small", a_request(), "answer")


def test_optional_calls_are_left_out_as_soon_as_samples_shrink() -> None:
    shedding = Shedding(LIMITS, busy(0.8))
    assert not shedding.of("normal", 1).optional("small")
    assert shedding.of("high", 1).optional("small")
    assert shedding.counts == {"optional": 1}


def says_so(_: int) -> Script:
    return says("The answer ", "is 42.")


def under_load(pressure: float) -> tuple[FakeBackend, FakeBackend, Run]:
    small, large = FakeBackend(says_so(0)), FakeBackend(says_so(1))
    tiers = (a_tier("small", small, continues=True), a_tier("large", large, continues=True))
    run = a_run(*tiers, request=a_request(temperature=1.0))
    run.ledger.shed = Shedding(LIMITS, busy(pressure)).of("normal", 1)
    return small, large, run


@pytest.mark.parametrize("config", DEFAULT_STRATEGIES, ids=lambda config: str(config.kind))
async def test_no_strategy_is_refused_for_load(config: StrategyConfig) -> None:
    strategy = build_strategy(config.model_dump(), strategy_parts(FakeSandbox(executed)))
    calls = []
    for pressure in (0.0, 5.0):
        small, large, run = under_load(pressure)
        refusal = strategy.supports(run)
        if refusal is not None and refusal.param == "entroute.verifier":
            run.verifier = FakeVerifier({"The answer is 42.": 0.5})
        assert strategy.supports(run) is None
        outcome = await strategy.run(run)
        assert outcome.choices[0].content
        calls.append(len(small.calls) + len(large.calls))
    assert calls[1] <= calls[0]


async def test_probes_are_left_out_under_load() -> None:
    for pressure, calls in ((0.5, 1), (0.9, 0)):
        small, _, run = under_load(pressure)
        estimate = await ProbeConfig().build().estimate(run)
        assert (len(small.calls), estimate.abstained) == (calls, not calls)
        await run.close()


async def test_the_next_tier_is_not_warmed_up_under_load() -> None:
    strategy = CascadeConfig(warm_up=True).build(strategy_parts())
    for pressure, warmed in ((0.5, 1), (0.9, 0)):
        _, large, run = under_load(pressure)
        await strategy.run(run)
        assert len([call for call in large.calls if call.purpose == "probe"]) == warmed


def test_nothing_races_a_call_under_load() -> None:
    for pressure, twins in ((0.5, True), (0.9, False)):
        ledger = a_ledger(pressure)
        call = ledger.reserve("small", a_request(), "answer")
        assert (ledger.twin(call) is not None) == twins


def an_option(name: str, calls: int) -> Option:
    return Option(a_plan(name, 0.5, 1.0, worst_calls=calls), 0.5, 0.5, 1.0, 0.0, 1.0)


def test_a_policy_prefers_the_best_plan_that_load_leaves_calls_for() -> None:
    ranked = [an_option("many", 16), an_option("some", 4), an_option("one", 1)]
    for pressure, names in (
        (0.5, ["many", "some", "one"]),
        (0.95, ["some", "many", "one"]),
        (2.0, ["one", "many", "some"]),
    ):
        ledger = a_ledger(pressure)
        assert [option.plan.name for option in plans_under_load(ranked, ledger)] == names
        assert ledger.shed.noted == (names[0] != "many")
