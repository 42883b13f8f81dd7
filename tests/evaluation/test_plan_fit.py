from dataclasses import replace

import numpy as np
import pytest

from entroute.evaluation.episodes import Episode, PlanSpec, Spent
from entroute.evaluation.plan_fit import FEWEST, Scale, fit_plans
from entroute.evaluation.trying import Tried, tried
from entroute.profile.linear import plan_features
from entroute.profile.plans import Asked, Plan, Runtime

RUNTIMES = {
    "small": Runtime(prompt_s=0.001, token_s=0.01, stream_token_s=0.1, batch=10),
    "large": Runtime(prompt_s=0.003, token_s=0.03, stream_token_s=0.3, batch=10),
}
SCALE = Scale(RUNTIMES, unit_s=3.0, answer_s=30.0, answer_tokens=100.0)
SPEC = PlanSpec("small x1", "small x1", "small", {"kind": "single"}, ("number",), 1, {"small": 1})

EPISODE = Episode(
    prompt="a",
    form="number",
    plan="small x1",
    repeat=0,
    text="4",
    cut=False,
    spent={"small": Spent(1, 10, 20)},
    latency_s=2.0,
    failures=0,
    right=True,
)


def test_permutations_of_a_prompt_are_averaged() -> None:
    other = replace(
        EPISODE,
        repeat=1,
        right=False,
        latency_s=4.0,
        spent={"small": Spent(2, 20, 60), "large": Spent(1, 10, 30)},
    )
    (row,) = tried([EPISODE, other])
    assert (row.right, row.latencies_s) == (0.5, (2.0, 4.0))
    assert row.spent == {"small": (1.5, 15, 40), "large": (0.5, 5, 15)}
    assert row.seconds(RUNTIMES) == pytest.approx(0.015 + 0.4 + 0.015 + 0.45)


def test_a_prompt_with_an_answer_that_nothing_could_grade_is_left_out_of_that_plan() -> None:
    unknown = replace(EPISODE, repeat=1, right=None)
    elsewhere = replace(EPISODE, plan="large x1")
    assert [row.plan for row in tried([EPISODE, unknown, elsewhere])] == ["large x1"]


def test_a_plan_that_asks_for_more_than_it_said_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="'small x1' ran out of samples on prompt a"):
        tried([replace(EPISODE, failures=1)])


def world(
    count: int, seed: int = 0, *, telling: bool = True
) -> tuple[list[Tried], dict[str, Asked], np.ndarray]:
    """Return rows, what is known before, and the true P(right) of each prompt.

    Prompts of code have answers of 50 tokens, others of 150, give or take a tenth.
    """
    rng = np.random.default_rng(seed)
    rows, asked = [], {}
    truth = 1 / (1 + np.exp(-rng.normal(0, 2, count)))
    for place in range(count):
        name, form = f"q{place}", "code" if place % 2 else "number"
        length = 50.0 if place % 2 else 150.0
        said = float(truth[place]) if telling else float(rng.random())
        asked[name] = Asked(plan_features({"small": said}, form), 10.0, length)
        right = float(rng.binomial(4, truth[place]) / 4)
        made = length * rng.uniform(0.9, 1.1)
        rows.append(
            Tried(name, form, "small x1", right, {"small": (1.0, 10.0, made)}, (made / 10,))
        )
    return rows, asked, truth


def fitted(rows: list[Tried], asked: dict[str, Asked]) -> Plan:
    return fit_plans([SPEC], rows, asked, SCALE)[SPEC.name]


def test_success_follows_difficulty_where_it_tells_something() -> None:
    plan = fitted(*world(300)[:2])
    _, asked, truth = world(300, seed=1)
    predicted = np.array([plan.success.probability(a.features) for a in asked.values()])
    assert np.corrcoef(predicted, truth)[0, 1] > 0.95
    assert np.mean(np.abs(predicted - truth)) < 0.06


def test_success_stays_near_the_mean_where_difficulty_tells_nothing() -> None:
    rows, asked, _ = world(FEWEST, telling=False)
    plan = fitted(rows, asked)
    mean = np.mean([row.right for row in rows])
    predicted = np.array([plan.success.probability(a.features) for a in asked.values()])
    assert predicted.mean() == pytest.approx(mean, abs=0.02)
    assert predicted.std() < 0.15


@pytest.mark.parametrize(("right", "limit"), [(1.0, 0.99), (0.0, 0.01)])
def test_a_plan_that_was_always_right_or_never_is_not_believed_to_the_end(
    right: float, limit: float
) -> None:
    rows, asked, _ = world(50)
    plan = fitted([replace(row, right=right) for row in rows], asked)
    assert plan.success.probability(asked["q0"].features) == pytest.approx(limit)


def test_predicted_cost_is_real_cost_for_short_answers_and_for_long_ones() -> None:
    rows, asked, _ = world(400)
    plan = fitted(rows, asked)
    for form in ("number", "code"):
        its = [row for row in rows if row.form == form]
        real = np.mean([row.seconds(RUNTIMES) for row in its])
        expected = [plan.expected(asked[row.prompt], RUNTIMES, {}).seconds for row in its]
        assert np.mean(expected) == pytest.approx(real, rel=0.03)


def test_predicted_tokens_add_up_to_those_that_were_spent() -> None:
    rng = np.random.default_rng(3)
    rows, asked, _ = world(200)
    # Expected lengths that are wrong by up to three times, and differently from prompt to prompt.
    for name, known in asked.items():
        asked[name] = replace(known, output_tokens=known.output_tokens * rng.uniform(0.5, 1.5))
    plan = fitted(rows, asked)
    spend = plan.spend["small"].answers
    predicted = sum(spend.value(a.features) * a.output_tokens for a in asked.values())
    assert predicted == pytest.approx(sum(row.spent["small"][2] for row in rows), rel=0.01)


def test_a_plan_says_what_came_of_it() -> None:
    rows, asked, _ = world(60)
    plan = fitted(rows, asked)
    assert (plan.prompts, plan.forms, plan.worst_calls) == (60, ("code", "number"), 1)
    assert plan.right == pytest.approx(np.mean([row.right for row in rows]))
    assert plan.cost == pytest.approx(np.mean([row.seconds(RUNTIMES) for row in rows]) / 3.0)
    latencies = [row.latencies_s[0] for row in rows]
    assert plan.p95_answers == pytest.approx(np.quantile(latencies, 0.95) / 30.0)


def test_few_prompts_have_no_plan() -> None:
    rows, asked, _ = world(FEWEST)
    assert fit_plans([SPEC], rows[1:], asked, SCALE) == {}
    unknown = {name: known for name, known in asked.items() if name != "q0"}
    assert fit_plans([SPEC], rows, unknown, SCALE) == {}


def test_a_tier_that_was_never_reached_is_charged_where_the_plan_starts() -> None:
    rows, asked, _ = world(50)
    rows = [replace(row, spent={"large": row.spent["small"]}) for row in rows]
    plan = fitted(rows, asked)
    assert set(plan.spend) == {"small", "large"}
    assert plan.spend["small"].answers.value(asked["q1"].features) == pytest.approx(0)
