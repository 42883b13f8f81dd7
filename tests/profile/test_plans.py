"""What plans promise and cost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from entroute.profile.linear import Linear, logit, plan_features, sigmoid
from entroute.profile.plans import Asked, Plan, Runtime, Spend
from entroute.spending import Price
from tests.profiles import a_plan

RUNTIMES = {
    "small": Runtime(prompt_s=0.001, token_s=0.01, stream_token_s=0.04, batch=4),
    "large": Runtime(prompt_s=0.002, token_s=0.03, stream_token_s=0.12, batch=4),
}


@given(st.floats(0.02, 0.98))
def test_sigmoid_undoes_logit(p: float) -> None:
    assert sigmoid(logit(p)) == pytest.approx(p)


@given(st.floats(-1e6, 1e6))
def test_a_probability_is_one(value: float) -> None:
    assert 0 <= sigmoid(value) <= 1


def test_features_are_each_tiers_logit_and_the_answer_form() -> None:
    assert plan_features({"small": 0.5, "large": 0.98}, "number") == {
        "logit small": 0.0,
        "logit large": pytest.approx(logit(0.98)),
        "number logit small": 0.0,
        "number logit large": pytest.approx(logit(0.98)),
        "form number": 1.0,
    }
    assert plan_features({"small": 0.5}, None) == {"logit small": 0.0}


def test_a_feature_that_is_absent_counts_nothing() -> None:
    model = Linear(intercept=1.0, weights={"a": 2.0, "b": 5.0})
    assert model.value({"a": 3.0, "c": 9.0}) == 7.0


def test_cost_adds_up_over_tiers() -> None:
    plan = a_plan("small gate -> large", 0.5, 0.0)
    plan = plan.model_copy(
        update={
            "spend": {
                "small": Spend(calls=Linear(intercept=1.0), answers=Linear(intercept=0.5)),
                "large": Spend(calls=Linear(intercept=0.4), answers=Linear(intercept=0.4)),
            }
        }
    )
    asked = Asked({}, prompt_tokens=100.0, output_tokens=200.0)
    prices = {"small": Price(1.0, 2.0), "large": Price(10.0, 20.0)}
    found = plan.expected(asked, RUNTIMES, prices)
    small_s = 100 * 0.001 + 100 * 0.01
    large_s = 40 * 0.002 + 80 * 0.03
    assert found.seconds == pytest.approx(small_s + large_s)
    assert found.usd == pytest.approx((100 * 1 + 100 * 2 + 40 * 10 + 80 * 20) / 1e6)


def test_nothing_costs_less_than_nothing() -> None:
    spend = Spend(calls=Linear(), answers=Linear(intercept=-3.0))
    plan = a_plan("small x1", 0.5, 0.0).model_copy(update={"spend": {"small": spend}})
    found = plan.expected(Asked({}, 0.0, 100.0), RUNTIMES, {})
    assert (found.seconds, found.usd) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"strategy": {"samples": 3}}, "strategy needs a kind"),
        ({"spend": {}}, "spend lacks the tier"),
        ({"right": 1.5}, "less than or equal to 1"),
        ({"name": "small {x1}"}, "String should match"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(facts: dict[str, object], words: str) -> None:
    row = a_plan("small x1", 0.5, 1.0).model_dump() | facts
    with pytest.raises(ValidationError, match=words):
        Plan.model_validate(row)
