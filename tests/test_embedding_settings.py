"""What may be configured of tiers that embed and of tiers that fill in."""

from typing import Any

import pytest
from pydantic import ValidationError

from entroute.loading import EMBEDDED, load
from entroute.settings import Settings
from entroute.types import FillInMiddle

WORKERS = [{"url": "http://127.0.0.1:1/v1"}]
SMALL = {"name": "small", "model": "qwen", "workers": WORKERS}
MINI = {"name": "mini", "model": "mini-lm", "workers": WORKERS}


def settings(*embeddings: dict[str, Any], **small: Any) -> Settings:
    return Settings.model_validate({"tiers": [{**SMALL, **small}], "embeddings": list(embeddings)})


def test_an_embedding_tier_needs_little():
    (tier,) = settings(MINI).embeddings
    assert (tier.max_inputs, tier.dimensions, tier.price.prompt) == (256, None, 0.0)


@pytest.mark.parametrize(
    "facts",
    [
        {"workers": []},
        {"price": {"prompt": 1, "completion": 1}},
        {"price": {"prompt": -1}},
        {"max_inputs": 0},
        {"dimensions": 0},
        {"engine": {"kind": "llamacpp", "gguf": "x"}},
        {"name": "auto"},
        {"model": "auto"},
    ],
)
def test_what_no_embedding_tier_can_be_is_refused(facts: dict[str, Any]):
    with pytest.raises(ValidationError):
        settings({**MINI, **facts})


@pytest.mark.parametrize("facts", [{"name": "small"}, {"model": "qwen"}, {"name": "qwen"}])
def test_names_are_shared_with_the_tiers(facts: dict[str, Any]):
    with pytest.raises(ValidationError, match="names more than one tier or model"):
        settings({**MINI, **facts})
    with pytest.raises(ValidationError, match="mini"):
        settings(MINI, {**MINI, "model": "other"})


def test_fill_in_tokens_are_given_whole_and_in_one_way():
    tokens = {"prefix": "<P>", "suffix": "<S>", "middle": "<M>"}
    (tier,) = settings(fill_in_middle=tokens).tiers
    assert tier.fill_in_middle is not None
    assert tier.fill_in_middle.build() == FillInMiddle("<P>", "<S>", "<M>")
    for wrong in (
        {"fill_in_middle": {"prefix": "<P>", "suffix": "<S>"}},
        {"fill_in_middle": {**tokens, "middle": ""}},
        {"fill_in_middle": tokens, "suffix": "native"},
        {"suffix": "yes"},
    ):
        with pytest.raises(ValidationError):
            settings(**wrong)


def test_the_embedded_models_fill_in():
    tiers = load(None, {}).tiers
    assert len(tiers) == len(EMBEDDED["tiers"])
    assert all(tier.fill_in_middle is not None for tier in tiers)


def test_a_salt_key_is_a_secret_of_some_length():
    auth = {"keys_file": "keys.yaml", "cache_salt_key": "a secret long enough"}
    held = Settings.model_validate({"tiers": [SMALL], "auth": auth})
    assert "long enough" not in str(held)
    assert "long enough" not in held.model_dump_json()
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate({"tiers": [SMALL], "auth": {**auth, "cache_salt_key": "short"}})
    assert "cache_salt_key" in str(refused.value)
