import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.evaluation.router_metrics import apgr, best_curve, cpt, curve, hull

ROWS = st.lists(
    st.tuples(st.floats(-5, 5), st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=60
)


def columns(*rows: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores, weak, strong = np.array(rows, dtype=float).T
    return scores, weak, strong


def test_ten_distinct_prompts_worked_out_by_hand() -> None:
    # Scores 0..9: the edges are 0, .9, ... 9, so 10, 9, ... 1 prompts go up, and none at the last
    # edge. Strong is right everywhere, weak only on the five lowest scores: quality rises by .1 a
    # step from .5 to 1 at half, and stays. Area: .5 x .75 + .5 x 1 = .875; (.875 - .5) / .5 = .75.
    found = curve(*columns(*((score, float(score < 5), 1) for score in range(10))))
    assert found.shares == pytest.approx(np.linspace(0, 1, 11))
    assert found.qualities == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9, *[1.0] * 6])
    assert apgr(found) == pytest.approx(0.75)
    assert cpt(found, 0.5) == pytest.approx(0.25)
    assert cpt(found, 0.8) == pytest.approx(0.4)


def test_the_wrong_way_round_is_as_far_below_chance() -> None:
    scores, weak, strong = columns(*((score, float(score < 5), 1) for score in range(10)))
    assert apgr(curve(-scores, weak, strong)) == pytest.approx(0.25)


def test_duplicate_edges_are_dropped() -> None:
    # Edges 0, .2, .5, .8 and 1: everybody, three times the upper half, nobody above the last.
    # Area: .5 x .5 + .5 x .75 = .625; (.625 - .25) / .5 = .75.
    found = curve(*columns((0, 1, 1), (0, 0, 0), (1, 0, 1), (1, 0, 1)))
    assert found.shares == pytest.approx([0, 0.5, 1])
    assert found.qualities == pytest.approx([0.25, 0.75, 0.75])
    assert apgr(found) == pytest.approx(0.75)


def test_a_router_that_knows_nothing_is_chance() -> None:
    found = curve(*columns((3, 0, 1), (3, 0, 1), (3, 1, 1)))
    assert found.shares == pytest.approx([0, 1])
    assert apgr(found) == pytest.approx(0.5)
    assert cpt(found, 0.5) == pytest.approx(0.5)


def test_above_one_is_possible() -> None:
    # Strong is wrong where weak is right: sending up only the right half beats always-strong.
    rows = [(9 - place, *((0, 1) if place < 6 else (1, 0))) for place in range(10)]
    assert apgr(curve(*columns(*rows))) > 1


def test_equal_models_have_no_gap_to_recover() -> None:
    found = curve(*columns((1, 1, 1), (2, 0, 0)))
    assert np.isnan(apgr(found))
    assert cpt(found, 0.5) is None


@given(ROWS)
def test_the_oracle_is_never_below_a_router(rows: list[tuple[float, int, int]]) -> None:
    scores, weak, strong = columns(*rows)
    found, best = curve(scores, weak, strong), best_curve(weak, strong)
    at = np.interp(found.shares, best.shares, best.qualities)
    assert (found.qualities <= at + 1e-9).all()
    if strong.mean() > weak.mean():
        assert apgr(found) <= apgr(best) + 1e-9


@given(ROWS)
def test_curves_go_from_always_weak_to_always_strong(rows: list[tuple[float, int, int]]) -> None:
    scores, weak, strong = columns(*rows)
    found = curve(scores, weak, strong)
    assert found.shares[0] == 0
    assert found.shares[-1] == 1
    assert found.qualities[0] == pytest.approx(weak.mean())
    assert found.qualities[-1] == pytest.approx(strong.mean())


def test_graded_scores_scale_out() -> None:
    scores, weak, strong = columns(*((score, float(score < 5), 1) for score in range(10)))
    assert apgr(curve(scores, 1 + 9 * weak, 1 + 9 * strong)) == pytest.approx(0.75)


def test_the_hull_drops_what_mixing_beats() -> None:
    points = [(0, 0.5), (0.4, 0.5), (0.5, 0.9), (0.7, 0.91), (1.0, 1.0), (1.2, 0.95)]
    assert hull(points) == ((0, 0.5), (0.5, 0.9), (1.0, 1.0))
