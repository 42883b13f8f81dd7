"""Whatever a client sends is taken or refused by name: no body breaks the translation."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from entroute.api.errors import rendered
from entroute.api.responses.items import input_items
from entroute.api.responses.render import shown_settings
from entroute.api.responses.schema import ResponseBody
from entroute.api.responses.translate import chat_request, check_fields, renamed
from entroute.errors import ContextLengthExceeded, InvalidRequest, WorkerRejected
from tests.responses_wire import check_response

ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1.5, "", "x", [], [1], [{}], {}, {"a": 1}]
)


def of(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw an object; in some, one field is odd or missing."""
    good = st.fixed_dictionaries(fields)
    name = st.sampled_from(sorted(fields))
    odd = st.builds(lambda whole, at, value: {**whole, at: value}, good, name, ODD)
    less = st.builds(lambda whole, at: {k: v for k, v in whole.items() if k != at}, good, name)
    return st.one_of(good, odd, less)


def word(*words: str) -> st.SearchStrategy[str]:
    return st.sampled_from(words)


PART = of(
    type=word("input_text", "output_text", "refusal", "input_image", "input_file"),
    text=st.text(max_size=3),
    refusal=st.text(max_size=3),
    image_url=st.text(max_size=3),
    detail=word("low", "auto"),
)
ITEM = of(
    type=word("message", "function_call", "function_call_output", "reasoning", "item_reference"),
    id=st.text(max_size=3),
    role=word("user", "assistant", "system", "developer"),
    content=st.text(max_size=3) | st.lists(PART, max_size=2),
    call_id=word("a", "b"),
    name=word("f"),
    arguments=word("{}"),
    output=st.text(max_size=3) | st.lists(PART, max_size=2),
    summary=st.just([]),
)
MESSAGE = of(role=word("user", "assistant"), content=st.lists(PART, min_size=1, max_size=2))
TOOL = of(type=word("function", "web_search"), name=word("f", "g"), parameters=st.just({}))
BODY = of(
    input=st.text(max_size=3) | st.lists(ITEM, max_size=3),
    instructions=st.text(max_size=3),
    tools=st.lists(TOOL, max_size=2),
    tool_choice=word("auto", "none", "required")
    | of(
        type=word("function", "allowed_tools"),
        name=word("f", "g"),
        mode=word("auto", "required"),
        tools=st.lists(TOOL, max_size=2),
    ),
    text=of(
        format=of(type=word("text", "json_object", "json_schema"), name=word("x"), schema=ODD),
        verbosity=word("low"),
    ),
    reasoning=of(effort=word("low"), summary=word("auto"), mode=word("standard", "pro")),
    include=st.lists(word("message.output_text.logprobs", "x"), max_size=1),
    metadata=st.dictionaries(st.text(max_size=2), st.text(max_size=2), max_size=2),
    background=st.just(False),
    store=st.booleans(),
)


CHOICE = of(
    type=word("function", "allowed_tools"),
    name=word("f", "g"),
    mode=word("auto", "required"),
    tools=st.lists(TOOL, max_size=2),
)
MESSAGES = st.fixed_dictionaries({"input": st.lists(MESSAGE, min_size=1, max_size=2)})
CHOICES = of(tools=st.just([{"type": "function", "name": "f"}]), tool_choice=CHOICE)


@settings(max_examples=1000)
@given(st.one_of(BODY, MESSAGES, CHOICES))
def test_every_body_is_taken_or_refused_by_name(given_body: dict[str, Any]):
    try:
        body = ResponseBody.model_validate({"model": "small", "input": "Hi", **given_body})
    except ValidationError:
        return
    refused = None
    try:
        check_fields(body)
        items = input_items(body.input)
        request = chat_request(body, items, frozenset())
        shown = shown_settings(body)
    except InvalidRequest as error:
        refused = error
    if refused is not None:
        assert refused.param
        assert str(refused).startswith(refused.param) or refused.param == "input"
        return
    assert all(message["role"] for message in request.messages)
    assert len({item["id"] for item in items}) >= bool(items)
    facts = {"id": "resp_1", "created_at": 1, "model": "small", "object": "response", "output": []}
    check_response({**facts, "instructions": body.instructions, **shown})


@pytest.mark.parametrize(
    ("error", "param", "message"),
    [
        (InvalidRequest("messages: no.", param="messages", code="c"), "input", "input: no."),
        (ContextLengthExceeded("Too long.", param="messages"), "input", "Too long."),
        (InvalidRequest("Too low.", param="max_tokens"), "max_output_tokens", "Too low."),
        (
            WorkerRejected("w", "bad schema", status=400, param="response_format", code="c"),
            "text.format",
            "bad schema",
        ),
        (WorkerRejected("w", "no", status=413, param="logprobs", code=None), "include", "no"),
        (InvalidRequest("No tools.", param="tools"), "tools", "No tools."),
    ],
    ids=str,
)
def test_errors_of_the_walk_name_the_clients_field(
    error: InvalidRequest | WorkerRejected, param: str, message: str
):
    told, before = renamed(error), error.param
    assert (told.param, told.message, told.code) == (param, message, error.code)
    assert rendered(told)[0] == rendered(error)[0]
    assert error.param == before  # others may have been raised the same object
