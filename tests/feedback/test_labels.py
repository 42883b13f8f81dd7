"""Windows of labels: bounded, one label an answer."""

from hypothesis import given
from hypothesis import strategies as st

from entroute.feedback.decided import Decided
from entroute.feedback.labels import MOST_PLANS, Window, label_of
from tests.feedback.traffic import a_label, a_learner

ANSWER = Decided("r", "a", 5.0, plan="p", profile="now", profile_quality=0.6, propensity=0.5)


def test_a_label_learns_from_what_the_profile_said() -> None:
    label = label_of(ANSWER, 1.0, 9.0, "now")
    assert label is not None
    assert (label.plan, label.predicted, label.propensity, label.value) == ("p", 0.6, 0.5, 1.0)
    assert not label.replaces
    again = label_of(ANSWER.labelled(1.0), 0.0, 9.0, "now")
    assert again is not None
    assert again.replaces
    assert again.key == label.key


def test_what_no_profile_predicted_teaches_nothing() -> None:
    assert label_of(ANSWER, 1.0, 9.0, "newer") is None
    assert (
        label_of(Decided("r", "a", 5.0, profile="now", profile_quality=0.6), 1.0, 9.0, "now")
        is None
    )
    assert label_of(Decided("r", "a", 5.0, plan="p", profile="now"), 1.0, 9.0, "now") is None
    assert label_of(Decided("r", "a", 5.0, profile="now", cached=True), 1.0, 9.0, "now") is None


def test_a_second_label_takes_the_place_of_the_first() -> None:
    window = Window(10)
    first = a_label(0.0, key="k")
    window.add(first)
    window.add(a_label(1.0))
    window.add(a_label(1.0, key="k"))
    assert [label.value for label in window.recent] == [1.0, 1.0]
    assert [label.value for label in window.of("p")] == [1.0, 1.0]


def test_an_equal_label_changes_nothing() -> None:
    learner = a_learner()
    label = a_label(1.0)
    learner.learn(label)
    kept = learner.kept()
    learner.learn(label)
    assert learner.kept() == kept


def test_a_change_of_a_label_that_is_no_longer_held_teaches_nothing() -> None:
    learner = a_learner()
    learner.learn(a_label(1.0))
    kept = learner.kept()
    learner.learn(a_label(0.0, replaces=True))
    assert learner.kept() == kept


@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from("pqr"), st.booleans())),
    st.integers(1, 6),
)
def test_windows_are_bounded_and_hold_an_answer_once(
    told: list[tuple[int, str, bool]], size: int
) -> None:
    window = Window(size)
    for number, plan, right in told:
        window.add(a_label(float(right), plan=plan, key=f"{plan}{number}"))
        assert len(window.recent) <= size
        for held in (window.recent, *(window.of(each) for each in "pqr"), window.held()):
            keys = [label.key for label in held]
            assert len(set(keys)) == len(keys)
        for each in "pqr":
            assert len(window.of(each)) <= size
            assert all(label.plan == each for label in window.of(each))


def test_plans_are_bounded() -> None:
    window = Window(5)
    for number in range(MOST_PLANS + 10):
        window.add(a_label(1.0, plan=f"plan-{number}"))
    assert len(window.plans) == MOST_PLANS
    assert f"plan-{MOST_PLANS + 9}" in window.plans
