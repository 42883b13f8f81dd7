import numpy as np
import pytest

from entroute.evaluation.arms import (
    Point,
    Table,
    by_price,
    cost_for,
    difference,
    met,
    mixed,
    table_of,
    uniform_points,
)
from entroute.evaluation.plan_fit import Scale
from entroute.evaluation.trying import Tried
from entroute.profile.plans import Runtime


def point(cost: float, quality: float, label: str = "p", count: int = 10) -> Point:
    """Return a point whose first prompts are right and whose costs differ."""
    right = (np.arange(count) < round(quality * count)).astype(float)
    costs = cost * np.linspace(0.5, 1.5, count)
    return Point(label, right, costs)


CHEAP, MIDDLE, DEAR = point(0.2, 0.4, "cheap"), point(0.6, 0.5, "middle"), point(1.0, 0.9, "dear")


@pytest.mark.parametrize("cost", [0.2, 0.3, 0.55, 0.81, 1.0])
def test_a_mixture_meets_its_cost_exactly_and_lies_on_the_upper_hull(cost: float) -> None:
    found = mixed([CHEAP, MIDDLE, DEAR], cost)
    assert found is not None
    assert found.spent == pytest.approx(cost)
    # The middle lies below the line from the cheap to the dear one: it has no part in it.
    assert found.quality == pytest.approx(0.4 + 0.5 * (cost - 0.2) / 0.8)
    assert "middle" not in found.label


def test_nothing_is_mixed_below_the_cheapest_and_beyond_the_dearest_the_best_is_taken() -> None:
    assert mixed([MIDDLE, DEAR], 0.5) is None
    assert mixed([CHEAP, MIDDLE, DEAR], 9.0) == DEAR
    worse = point(2.0, 0.8, "worse and dearer")
    assert mixed([CHEAP, DEAR, worse], 2.5) == DEAR


@pytest.mark.parametrize("cost", [0.2, 0.4, 0.7, 0.99])
def test_a_policy_mixes_the_neighbours_of_a_cost_whatever_turned_out_right(cost: float) -> None:
    found = met([DEAR, MIDDLE, CHEAP], cost)
    assert found is not None
    assert found.spent == pytest.approx(cost)
    assert "middle" in found.label or cost == pytest.approx(0.2)
    assert met([DEAR, MIDDLE, CHEAP], 0.1) is None
    assert met([DEAR, MIDDLE, CHEAP], 3) is DEAR


def test_a_policys_mixture_is_no_better_than_its_points_by_chance() -> None:
    """The hull of many equally good points is above them all; their neighbours are not."""
    rng = np.random.default_rng(1)
    gained, peeked = [], []
    for _ in range(40):
        points = [
            Point(str(i), (rng.random(60) < 0.5).astype(float), np.full(60, 2.0 - i / 20))
            for i in range(40)
        ]
        chosen, best = met(points, 1.01), mixed(points, 1.01)
        assert chosen is not None
        assert best is not None
        gained.append(chosen.quality)
        peeked.append(best.quality)
    assert np.mean(gained) == pytest.approx(0.5, abs=0.02)
    assert np.mean(peeked) > 0.55


def test_a_quality_costs_what_the_cheapest_mixture_of_it_costs() -> None:
    points = [CHEAP, MIDDLE, DEAR]
    assert cost_for(points, 0.4) == pytest.approx(0.2)
    assert cost_for(points, 0.65) == pytest.approx(0.6)
    assert cost_for(points, 0.9) == pytest.approx(1.0)
    assert cost_for(points, 0.91) is None
    assert cost_for([MIDDLE, DEAR], 0.1) == pytest.approx(0.6)


def test_costs_and_mixtures_are_each_others_inverse() -> None:
    points = [CHEAP, MIDDLE, DEAR]
    for cost in (0.35, 0.6, 0.95):
        found = mixed(points, cost)
        assert found is not None
        assert cost_for(points, found.quality) == pytest.approx(cost)


def test_an_interval_covers_the_true_difference_95_times_in_100() -> None:
    rng = np.random.default_rng(2)
    covered, above = 0, 0
    for _ in range(150):
        easy = rng.random(80) < 0.6
        one = (rng.random(80) < np.where(easy, 0.9, 0.4)).astype(float)
        other = (rng.random(80) < np.where(easy, 0.8, 0.3)).astype(float)
        found = difference(one, other, rng)
        assert found.mean == pytest.approx(one.mean() - other.mean())
        covered += found.low <= 0.1 <= found.high
        above += found.low > 0.1
    assert 134 <= covered <= 150
    assert above <= 10


def test_a_pairing_narrows_the_interval() -> None:
    rng = np.random.default_rng(3)
    one = (rng.random(100) < 0.5).astype(float)
    other = one.copy()
    other[:5] = 0
    paired = difference(one, other, rng)
    apart = difference(one, rng.permutation(other), rng)
    assert paired.high - paired.low < (apart.high - apart.low) / 2


RUNTIMES = {
    "small": Runtime(prompt_s=0.01, token_s=0.1, stream_token_s=0.2, batch=2),
    "large": Runtime(prompt_s=0.02, token_s=0.3, stream_token_s=0.6, batch=2),
}
SCALE = Scale(RUNTIMES, unit_s=3.0, answer_s=6.0, answer_tokens=10.0)


def tried(prompt: str, plan: str, right: float, **spent: tuple[float, float, float]) -> Tried:
    return Tried(prompt, "number", plan, right, spent, (1.0,))


def test_costs_are_worker_seconds_in_units_of_one_large_answer() -> None:
    rows = [tried("a", "both x1", 1.0, small=(2, 20, 5), large=(1, 10, 8))]
    table = table_of(rows, SCALE)
    assert table.cost[0, 0] == pytest.approx((0.2 + 0.5 + 0.2 + 2.4) / 3.0)


def test_prompts_without_every_single_answer_are_left_out() -> None:
    rows = [
        tried("a", "small x1", 1.0, small=(1, 1, 1)),
        tried("a", "large x1", 1.0, large=(1, 1, 1)),
        tried("b", "large x1", 1.0, large=(1, 1, 1)),
        tried("b", "small gate", 0.0, small=(1, 1, 1)),
    ]
    table = table_of(rows, SCALE)
    assert table.prompts == ("a",)
    assert np.isnan(table.right[0, table.plans.index("small gate")])


TABLE = Table(
    prompts=("a", "b"),
    forms=("number", "code"),
    plans=("small x1", "votes", "large x1"),
    right=np.array([[0.0, 1.0, 1.0], [0.5, np.nan, 1.0]]),
    cost=np.array([[0.2, 0.6, 1.0], [0.2, np.nan, 1.0]]),
)


def test_a_plan_that_does_not_serve_a_prompt_cannot_be_chosen() -> None:
    right, cost = TABLE.choose(["votes", "small x1"])
    assert right.tolist() == [1.0, 0.5]
    assert cost.tolist() == [0.6, 0.2]
    with pytest.raises(KeyError, match="'votes' does not serve prompt b"):
        TABLE.choose(["votes", "votes"])


def test_a_uniform_budget_falls_back_to_its_tiers_single_answer() -> None:
    points = uniform_points(TABLE, {"votes": ["votes", "small x1"], "never": ["votes"]})
    assert [p.label for p in points] == ["votes"]
    assert points[0].right.tolist() == [1.0, 0.5]
    assert points[0].spent == pytest.approx(0.4)


def test_a_price_decides_between_plans_and_ties_go_to_the_cheaper_one() -> None:
    def known(row: int, plan: str) -> tuple[float, float]:
        place = TABLE.plans.index(plan)
        return float(TABLE.right[row, place]), float(TABLE.cost[row, place])

    free, fair, steep = by_price(TABLE, known, [0.0, 0.5, 9.0])
    assert [free.quality, free.spent] == pytest.approx([1.0, 0.8])
    # On b the large answer is worth .5 more and costs .8 more: at .5 each it is taken.
    assert [fair.quality, fair.spent] == pytest.approx([1.0, 0.8])
    assert [steep.quality, steep.spent] == pytest.approx([0.25, 0.2])


def test_mean_costs_fall_as_the_price_rises() -> None:
    rng = np.random.default_rng(4)
    right = rng.random((50, 3))
    cost = rng.random((50, 3))
    table = Table(tuple(map(str, range(50))), ("number",) * 50, ("a", "b", "c"), right, cost)

    def known(row: int, plan: str) -> tuple[float, float]:
        place = table.plans.index(plan)
        return float(right[row, place]), float(cost[row, place])

    points = by_price(table, known, [0.01, 0.1, 0.5, 1.0, 50.0])
    spent = [point.spent for point in points]
    assert spent == sorted(spent, reverse=True)
    assert points[0].quality == pytest.approx(right.max(axis=1).mean(), abs=0.01)
    assert points[-1].spent == pytest.approx(cost.min(axis=1).mean(), abs=0.01)
