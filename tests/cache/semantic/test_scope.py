"""Which requests may be answered by meaning, and between which of them an answer may pass."""

from dataclasses import replace
from typing import Any

import pytest

from entroute.cache.semantic.scope import Place, place_of
from entroute.spending import BudgetLimits
from entroute.types import ChatRequest, Options, Principal
from tests.cache.semantic.meanings import chat, key_of

PLAIN = chat("How tall is Mount Fuji?")
SYSTEM = ("system", "Answer in one word.")


def place(
    request: ChatRequest = PLAIN,
    options: Options | None = None,
    principal: Principal | None = None,
    fingerprint: str = "f",
) -> Place | None:
    return place_of(request, options or Options(), principal or Principal(), key_of(fingerprint))


def scope(*asked: Any, **facts: Any) -> str:
    found = place(*asked, **facts)
    assert found is not None
    return found.scope


def test_only_the_last_users_text_is_left_out_of_the_scope() -> None:
    found = place(chat("How high is Mount Fuji?", SYSTEM))
    assert found == Place(scope(chat("Anything else", SYSTEM)), "How high is Mount Fuji?")


def test_a_text_in_parts_is_the_same_text() -> None:
    parts = [{"type": "text", "text": "How tall is Mount Fuji?"}]
    request = replace(PLAIN, messages=({"role": "user", "content": parts},))
    assert place(request) == place(PLAIN)


def test_a_text_completion_has_a_scope_of_its_own() -> None:
    prompt = "How tall is Mount Fuji?"
    found = place(ChatRequest("auto", prompt=prompt, temperature=0.0))
    assert found is not None
    assert found.text == prompt
    assert found.scope != scope(PLAIN)


@pytest.mark.parametrize(
    "other",
    [
        chat("q", SYSTEM),
        chat("q", ("system", "Answer in French.")),
        chat("q", ("user", "Hello"), ("assistant", "Hi")),
        chat("q", ("user", "Hello"), ("assistant", "What now?")),
        chat("q", temperature=0.5),
        chat("q", seed=1),
        chat("q", max_tokens=5),
        chat("q", model="large"),
        chat("q", extra={"response_format": {"type": "json_object"}}),
        chat("q", extra={"stop": ["\n"]}),
        chat("q", extra={"top_p": 0.1}),
        chat("q", extra={"a field of tomorrow": 1}),
    ],
)
def test_whatever_else_differs_is_another_scope(other: ChatRequest) -> None:
    assert scope(other) != scope(PLAIN)


@pytest.mark.parametrize(
    "principal",
    [
        Principal("acme"),
        Principal(tiers=frozenset({"small"})),
        Principal(strategies=frozenset({"single"})),
        Principal(limits=BudgetLimits(max_calls=1)),
    ],
)
def test_tenants_and_rights_have_scopes_of_their_own(principal: Principal) -> None:
    assert scope(PLAIN, None, principal) != scope()


def test_options_and_what_is_configured_have_scopes_of_their_own() -> None:
    others = {
        scope(),
        scope(PLAIN, Options(strategy="single")),
        scope(PLAIN, Options(quality=0.9)),
        scope(PLAIN, Options(verifier={"kind": "exact", "answer": "3776"})),
        scope(fingerprint="g"),
    }
    assert len(others) == 5


def test_how_an_answer_is_sent_and_labelled_is_not_in_the_scope() -> None:
    told = chat("q", extra={"user": "u", "stream": True, "metadata": {"a": "b"}})
    assert scope(told, Options(explain=True, cache="force", cache_tags=("t",))) == scope()


@pytest.mark.parametrize(
    "request_",
    [
        chat("q", n=2),
        chat("q", logprobs=True),
        chat("q", extra={"tools": [{"type": "function"}]}),
        chat("q", extra={"functions": [{"name": "f"}]}),
        chat("q", extra={"suffix": "end"}),
        chat("q", extra={"echo": True}),
        chat(""),
        chat("  \n"),
        ChatRequest("auto", (), temperature=0.0),
        ChatRequest("auto", ({"role": "assistant", "content": "and then"},), temperature=0.0),
        ChatRequest("auto", ({"role": "tool", "content": "42"},), temperature=0.0),
        ChatRequest("auto", ({"role": "user", "content": None},), temperature=0.0),
        ChatRequest("auto", ({"role": "user", "content": "q", "cached": 1},), temperature=0.0),
        ChatRequest(
            "auto",
            ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]},),
            temperature=0.0,
        ),
        ChatRequest(
            "auto",
            (
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]},
                {"role": "assistant", "content": "A cat."},
                {"role": "user", "content": "Sure?"},
            ),
            temperature=0.0,
        ),
        ChatRequest(
            "auto",
            ({"role": "user", "content": [{"type": "text", "text": "q", "cache_control": {}}]},),
            temperature=0.0,
        ),
    ],
)
def test_these_are_never_answered_by_meaning(request_: ChatRequest) -> None:
    assert place(request_) is None
