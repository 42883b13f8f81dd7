import pytest
from pydantic import TypeAdapter

from entroute.evaluation.episodes import PlanSpec
from entroute.evaluation.menu import plan_menu
from entroute.profile.plans import Way
from entroute.strategies import StrategyConfig
from entroute.strategies.reasc import SignalProfile

POINTS = ((0.2, 0.1), (0.9, 0.95))
SIGNALS = (SignalProfile(model="small-model", mean=2.0, deviation=0.5, accept_above=3.0),)
CONFIG: TypeAdapter[object] = TypeAdapter(StrategyConfig)


def menu(*tiers: str, gated: bool = True) -> dict[str, PlanSpec]:
    gates = {(tiers[0], "number"): POINTS, (tiers[-1], "number"): POINTS} if gated else {}
    found = plan_menu(tiers, gates, SIGNALS, votes_above=5)
    assert len({spec.name for spec in found}) == len(found)
    return {spec.name: spec for spec in found}


@pytest.mark.parametrize("tiers", [("small",), ("small", "large"), ("small", "mid", "large")])
def test_every_plan_is_one_that_serving_can_build(tiers: tuple[str, ...]) -> None:
    for spec in menu(*tiers).values():
        CONFIG.validate_python(dict(spec.strategy))
        way = Way(name=spec.name, tier=spec.tier, strategy=spec.strategy, needs=spec.needs)
        assert way.kind == spec.strategy["kind"]
        assert spec.tier in tiers
        assert set(spec.draws) <= set(tiers)


@pytest.mark.parametrize("tiers", [("small", "large"), ("small", "mid", "large")])
def test_every_form_has_a_single_answer_of_every_tier(tiers: tuple[str, ...]) -> None:
    found = menu(*tiers)
    for tier in tiers:
        assert set(found[f"{tier} x1"].forms) == {"number", "choice", "boxed", "code"}
        assert found[f"{tier} x1"].draws == {tier: 1}


def test_a_gate_is_a_plan_only_where_confidence_is_worth_something() -> None:
    assert "small gate -> large number" in menu("small", "large")
    found = menu("small", "large", gated=False)
    assert not [name for name in found if "gate" in name]
    spec = menu("small", "large")["small gate -> large number"]
    assert (spec.forms, spec.strategy["calibration"]) == (("number",), POINTS)
    assert spec.family == "small gate -> large"


def test_no_gate_starts_on_the_last_tier() -> None:
    assert [n for n in menu("small", "large") if "gate" in n] == ["small gate -> large number"]


def test_votes_know_what_confidence_is_worth_and_how_many_they_may_be() -> None:
    found = menu("small", "large")
    above = found["large votes <=5"]
    assert (above.worst_calls, above.draws) == (5, {"large": 5})
    below = found["small votes <=8 -> large"]
    assert (below.worst_calls, below.draws) == (9, {"small": 8, "large": 1})
    assert above.strategy["profiles"] == [SIGNALS[0].model_dump()]


def test_programs_and_code_need_what_they_run() -> None:
    found = menu("small", "large")
    assert found["small program -> large"].programs == 1
    assert found["small program -> large"].forms == ("number",)
    code = [spec for spec in found.values() if spec.forms == ("code",)]
    assert len(code) == 4
    assert all(spec.needs == ("examples",) for spec in code)


def test_one_tier_has_nobody_to_go_up_to() -> None:
    assert set(menu("small", gated=False)) == {"small x1", "small checked <=2", "small clusters 8"}
