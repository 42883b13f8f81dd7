from dataclasses import replace

import pytest

from entroute.difficulty.learned import Learned, LearnedConfig
from entroute.difficulty.lexical import Lexical
from entroute.evaluation.text_fit import fit_text_model
from entroute.profile.text_model import TextModel
from tests.builders import a_request, a_run, a_tier
from tests.profile.texts import TIERS, labelled

HARD = "Tell me about the tensor manifold and a lemma in topology 12?"


@pytest.fixture(scope="module")
def model() -> TextModel:
    return fit_text_model(labelled(300), TIERS)


def test_difficulty_is_the_cheapest_tiers_failure(model: TextModel) -> None:
    found = LearnedConfig().build(model).read(HARD)
    assert found.difficulty == pytest.approx(1 - found.p_right["small"])
    assert found.difficulty is not None
    assert found.difficulty > 0.6
    assert tuple(found.p_right) == TIERS
    assert found.task == "maths"
    assert found.output_tokens is not None


def test_the_reason_which_is_logged_holds_no_word_of_the_text(model: TextModel) -> None:
    found = Learned(model).read(HARD)
    assert "P(right) of small" in found.reason
    assert found.features[0][0] in HARD.lower()
    assert not any(name in found.reason for name, _ in found.features)


def test_without_a_profile_it_abstains_and_still_tells_the_form() -> None:
    found = LearnedConfig().build(None).read("Which is it?\nA. one\nB. two\nC. three")
    assert found.abstained
    assert found.reason == "no profile is loaded"
    assert found.checkable == "choice"


def test_without_text_it_abstains(model: TextModel) -> None:
    assert Learned(model).read(" \n ").reason == "there is no text"


def test_foreign_text_makes_it_abstain(model: TextModel) -> None:
    found = Learned(model).read("Wer reitet so spät durch Nacht und Wind?")
    assert found.abstained
    assert not found.p_right
    assert "unlike" in found.reason


async def test_the_whole_conversation_is_read_not_its_last_turn(model: TextModel) -> None:
    turns = (
        {"role": "user", "content": HARD},
        {"role": "assistant", "content": "Tell me about that."},
        {"role": "user", "content": "Tell me about the apple basket in some market 7?"},
    )
    learned = Learned(model)
    request = replace(a_request(), messages=turns)
    whole = await learned.estimate(a_run(a_tier("small"), request=request))
    assert not whole.abstained
    last = learned.read("Tell me about the apple basket in some market 7?")
    assert whole.p_right["small"] < last.p_right["small"]


EARLIER = (
    {"role": "user", "content": "How many apples are in 3 baskets of 4 apples?"},
    {"role": "assistant", "content": "12"},
)


@pytest.mark.parametrize("fitted", [True, False])
@pytest.mark.parametrize(
    ("last", "form"),
    [("Thank you. Write a poem about them.", None), ("How many are in 7 of 2?", "number")],
)
async def test_the_last_question_says_what_form_the_answer_has(
    model: TextModel, last: str, form: str | None, *, fitted: bool
) -> None:
    turns = (*EARLIER, {"role": "user", "content": last})
    run = a_run(a_tier("small"), request=replace(a_request(), messages=turns))
    for estimator in (Learned(model if fitted else None), Lexical()):
        assert (await estimator.estimate(run)).checkable == form
