import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from entroute.evaluation.text_fit import fit_text_model
from entroute.profile.text_model import TextModel
from tests.profile.texts import TIERS, labelled

EASY = "Tell me about the apple basket and a seller in the market 12?"
HARD = "Tell me about the tensor manifold and a lemma in topology 12?"
FOREIGN = {
    "empty": "",
    "German": "Wer reitet so spät durch Nacht und Wind? Es ist der Vater mit seinem Kind.",
    "JSON": '{"id": [1, 2, 3], "name": {"first": null, "xs": [{"k": true}, {"k": false}]}}' * 5,
    "base64": "aGVsbG8gd29ybGQgdGhpcyBpcyBub3QgYSBwcm9tcHQgYnV0IGRhdGEK" * 20,
}


@pytest.fixture(scope="module")
def model() -> TextModel:
    return fit_text_model(labelled(300), TIERS)


def test_the_hard_prompt_is_hard_for_the_small_tier_only(model: TextModel) -> None:
    easy, hard = model.predict(EASY), model.predict(HARD)
    assert easy.p_right["small"] > 0.7
    assert hard.p_right["small"] < 0.4
    assert hard.p_right["large"] > 0.7
    assert easy.gain is not None
    assert hard.gain is not None
    assert hard.gain == pytest.approx(hard.p_right["large"] - hard.p_right["small"])
    assert hard.gain > 0.4
    assert easy.gain < 0.2


def test_tiers_stay_in_order_cheapest_first(model: TextModel) -> None:
    assert tuple(model.predict(EASY).p_right) == TIERS


def test_one_tier_has_no_gain() -> None:
    assert fit_text_model(labelled(100), ["small"]).predict(EASY).gain is None


def test_class_and_length_are_told(model: TextModel) -> None:
    easy, hard = model.predict(EASY), model.predict(HARD)
    assert (easy.task, hard.task) == ("shopping", "maths")
    assert easy.output_tokens is not None
    assert hard.output_tokens is not None
    assert easy.output_tokens < 150
    assert hard.output_tokens > 250


def test_features_name_what_makes_it_harder_strongest_first(model: TextModel) -> None:
    features = model.predict(HARD).features
    strengths = [abs(contribution) for _, contribution in features]
    assert strengths == sorted(strengths, reverse=True)
    assert dict(features)["tensor"] > 0
    assert dict(model.predict(EASY).features)["apple"] < 0


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_text_is_off_distribution(model: TextModel, kind: str) -> None:
    assert model.predict(FOREIGN[kind]).off_distribution


def test_text_of_its_own_kind_is_not(model: TextModel) -> None:
    assert not model.predict(EASY).off_distribution
    assert not model.predict(HARD).off_distribution


@given(text=st.text(max_size=300))
def test_probabilities_stay_in_bounds_and_repeat(model: TextModel, text: str) -> None:
    found = model.predict(text)
    assert all(0 <= p <= 1 for p in found.p_right.values())
    assert found.output_tokens is not None
    assert 0 < found.output_tokens < 1e7
    assert found == model.predict(text)


@given(text=st.text(max_size=100))
def test_a_model_read_from_json_predicts_the_same(model: TextModel, text: str) -> None:
    again = TextModel.model_validate_json(model.model_dump_json())
    assert again == model
    assert list(again.tiers) == list(model.tiers)
    assert again.predict(text) == model.predict(text)


def test_a_model_with_missing_weights_is_refused(model: TextModel) -> None:
    row = model.model_dump()
    row["space"]["idf"] = row["space"]["idf"][:-1]
    with pytest.raises(ValidationError, match="idf"):
        TextModel.model_validate(row)
    row = model.model_dump()
    row["tiers"]["small"]["terms"] = ()
    with pytest.raises(ValidationError, match="one weight a word"):
        TextModel.model_validate(row)


def test_a_prompt_of_400_words_takes_milliseconds(model: TextModel) -> None:
    text = f"{EASY} {HARD} " * 17
    least = 1.0
    for _ in range(20):
        began = time.perf_counter()
        model.predict(text)
        least = min(least, time.perf_counter() - began)
    assert least < 0.01  # 0.7 ms when nothing else runs; the bound bears a busy machine


def test_a_huge_text_takes_no_longer_than_its_ends(model: TextModel) -> None:
    began = time.perf_counter()
    model.predict("a.(" * 1_000_000)
    assert time.perf_counter() - began < 1
