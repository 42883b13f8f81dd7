from typing import Any

import pytest

from entroute.backends.wire import Fold, body_of, completion_of, counted, path_of, usage_of
from entroute.errors import WorkerProtocolError
from entroute.spending import Usage
from entroute.types import ChatRequest, Completion, Delta, top_logprobs
from tests.builders import a_call, a_request

TEXT = ChatRequest(model="auto", prompt="6 times 7 is")


def chunk(delta: dict[str, Any] | None, **choice: Any) -> dict[str, Any]:
    return {"model": "m", "choices": [{"index": 0, "delta": delta, **choice}]}


def folded(*chunks: dict[str, Any]) -> tuple[list[Delta], Completion]:
    fold = Fold(a_call())
    deltas = [delta for one in chunks if (delta := fold.add(one)) is not None]
    return deltas, fold.completion()


def test_a_body_asks_for_one_choice_of_the_workers_model_and_its_usage() -> None:
    body = body_of(a_call(a_request(n=3)), "qwen", stream=True)
    assert body == {
        "model": "qwen",
        "messages": ({"role": "user", "content": "What is 6 times 7?"},),
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
    }


def test_a_whole_answer_is_not_asked_to_stream() -> None:
    assert set(body_of(a_call(), "qwen", stream=False)) == {"model", "messages"}


def test_each_sample_of_a_seeded_request_gets_its_own_seed() -> None:
    request = a_request(seed=7, temperature=0.5)
    bodies = [body_of(a_call(request, sample=i), "m", stream=False) for i in range(3)]
    assert [body["seed"] for body in bodies] == [7, 8, 9]
    assert all(body["temperature"] == 0.5 for body in bodies)


def test_nothing_is_sent_that_was_not_asked_for() -> None:
    body = body_of(a_call(), "m", stream=False)
    assert not {"seed", "temperature", "max_tokens", "logprobs", "n"} & set(body)


def test_the_calls_cap_and_unknown_fields_are_passed_on() -> None:
    request = a_request(max_tokens=100, extra={"min_p": 0.1, "model": "spoofed"})
    body = body_of(a_call(request, max_tokens=40), "m", stream=False)
    assert (body["max_tokens"], body["min_p"], body["model"]) == (40, 0.1, "m")


@pytest.mark.parametrize(
    ("request_", "ours", "expected"),
    [
        (a_request(logprobs=True, top_logprobs=2), None, {"logprobs": True, "top_logprobs": 2}),
        (a_request(logprobs=True, top_logprobs=2), 5, {"logprobs": True, "top_logprobs": 5}),
        (a_request(logprobs=True, top_logprobs=9), 5, {"logprobs": True, "top_logprobs": 9}),
        (a_request(), 5, {"logprobs": True, "top_logprobs": 5}),
        (ChatRequest(model="auto", prompt="x", logprobs=True), None, {"logprobs": 0}),
        (TEXT, 5, {"logprobs": 5}),
    ],
)
def test_log_probabilities_are_asked_in_the_endpoints_own_way(
    request_: ChatRequest, ours: int | None, expected: dict[str, Any]
) -> None:
    body = body_of(a_call(request_, top_logprobs=ours), "m", stream=False)
    assert {k: v for k, v in body.items() if "logprobs" in k} == expected


def test_a_text_completion_has_its_own_path_and_prompt() -> None:
    assert path_of(a_call()) == "/chat/completions"
    assert path_of(a_call(TEXT)) == "/completions"
    body = body_of(a_call(TEXT), "m", stream=False)
    assert body["prompt"] == "6 times 7 is"
    assert "messages" not in body


SO_FAR = {"role": "assistant", "content": "It is 4"}


@pytest.mark.parametrize("engine", ["vllm", ""])
def test_a_partial_answer_is_the_last_message_and_vllm_is_told_to_go_on(engine: str) -> None:
    request = a_request(extra={"stop": ["."], "add_generation_prompt": True})
    body = body_of(a_call(request, partial="It is 4"), "m", stream=True, engine=engine)
    assert body["messages"] == (*request.messages, SO_FAR)
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    assert body["stop"] == ["."]


def test_llamacpp_goes_on_with_a_last_message_by_itself() -> None:
    call = a_call(partial="It is 4")
    body = body_of(call, "m", stream=True, engine="llamacpp")
    assert body["messages"][-1] == SO_FAR
    assert not {"continue_final_message", "add_generation_prompt"} & set(body)


def test_usage_reads_cached_tokens_and_missing_parts_as_zero() -> None:
    full = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": None}
    assert usage_of(full) == Usage(9, 0, 2, 1)
    assert usage_of({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4}}) == Usage(
        9, 4, 0, 1
    )
    assert usage_of(None) is None


def test_a_whole_chat_answer_is_read() -> None:
    entry = {"token": "42", "logprob": -0.1, "bytes": [52, 50], "top_logprobs": []}
    payload = {
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "42",
                    "reasoning_content": "easy",
                    "refusal": None,
                    "tool_calls": [],
                },
                "logprobs": {"content": [entry]},
                "finish_reason": "stop",
                "stop_reason": 7,
            }
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 1},
    }
    completion = completion_of(payload, a_call())
    assert (completion.content, completion.finish_reason, completion.model) == ("42", "stop", "m")
    assert completion.extra == {"reasoning_content": "easy"}
    assert completion.choice_extra == {"stop_reason": 7}
    assert completion.logprobs == (entry,)
    assert completion.usage == Usage(9, 0, 1, 1)


def test_a_tool_call_answer_has_empty_content() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    payload = {
        "choices": [
            {"message": {"content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}
        ]
    }
    completion = completion_of(payload, a_call())
    assert completion.content == ""
    assert completion.tool_calls == [call]
    assert completion.usage == Usage(calls=1, partial_calls=1)


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"choices": []},
        {"choices": ["42"]},
        {"choices": {"0": {}}},
        {"choices": [{"message": "42"}]},
        {"choices": [{"message": {"content": "a"}, "logprobs": {"tokens": "x"}}], "usage": 3},
        {"choices": [{"message": {"content": "a"}}], "usage": {"prompt_tokens": "many"}},
    ],
)
def test_another_shape_is_a_protocol_error(payload: dict[str, Any]) -> None:
    with pytest.raises(WorkerProtocolError):
        completion_of(payload, a_call())


@pytest.mark.parametrize(
    "bad",
    [
        {"error": {"message": "out of memory"}},
        {"choices": ["42"]},
        {"choices": [{"delta": "42"}]},
        {"choices": [{"delta": {"tool_calls": [{"index": "first"}]}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": 2**40, "function": {}}]}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": -1, "function": {}}]}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": "add"}]}}]},
    ],
)
def test_a_chunk_of_another_shape_is_a_protocol_error(bad: dict[str, Any]) -> None:
    with pytest.raises(WorkerProtocolError):
        Fold(a_call()).add(bad)


def test_vllms_chunks_are_folded() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 0}
    deltas, completion = folded(
        chunk({"role": "assistant", "content": ""}) | {"usage": usage},
        chunk({"content": "4"}) | {"usage": usage | {"completion_tokens": 1}},
        chunk({"content": "2"}) | {"usage": usage | {"completion_tokens": 2}},
        chunk({"content": ""}, finish_reason="stop", stop_reason=None),
        {"model": "m", "choices": [], "usage": usage | {"completion_tokens": 3}},
    )
    assert [delta.content for delta in deltas] == ["4", "2"]
    assert [delta.usage and delta.usage.completion_tokens for delta in deltas] == [1, 2]
    assert (completion.content, completion.finish_reason) == ("42", "stop")
    assert completion.usage == Usage(9, 0, 3, 1)
    assert completion.choice_extra == {}


def test_llamacpps_chunks_are_folded() -> None:
    deltas, completion = folded(
        chunk({"role": "assistant", "content": None}, finish_reason=None),
        chunk({"content": "42"}, finish_reason=None),
        chunk({}, finish_reason="length"),
        {
            "choices": [],
            "model": "m",
            "usage": {"prompt_tokens": 9, "completion_tokens": 1},
            "timings": {"prompt_ms": 3.0},
        },
    )
    assert [delta.content for delta in deltas] == ["42"]
    assert deltas[0].usage is None
    assert (completion.finish_reason, completion.usage) == ("length", Usage(9, 0, 1, 1))


def test_llamacpp_is_asked_for_its_running_count_and_nobody_else_is() -> None:
    bodies = {
        engine: body_of(a_call(), "m", stream=True, engine=engine)
        for engine in ("llamacpp", "vllm", "")
    }
    asked = {engine for engine, body in bodies.items() if body.get("timings_per_token")}
    assert asked == {"llamacpp"}


def test_llamacpps_running_count_is_usage_with_cached_tokens_in_the_prompt() -> None:
    timings = {"cache_n": 24, "prompt_n": 14, "predicted_n": 2}
    told = {"usage": {"prompt_tokens": 38, "completion_tokens": 3}}
    deltas, completion = folded(
        {**chunk({"content": "Bon"}), "timings": timings},
        chunk({"content": "jour"}, finish_reason="stop"),
        {"choices": [], **told, "timings": timings},
    )
    assert deltas[0].usage == Usage(38, 24, 2, 1)
    assert completion.usage == Usage(38, 0, 3, 1)


def test_text_chunks_are_folded() -> None:
    logprobs = {"tokens": ["4"], "token_logprobs": [-0.1], "top_logprobs": [{"4": -0.1}]}
    fold = Fold(a_call(TEXT))
    delta = fold.add({"choices": [{"text": "4", "logprobs": logprobs, "finish_reason": None}]})
    assert delta is not None
    assert delta.content == "4"
    assert top_logprobs(delta.logprobs[0]) == (-0.1,)
    fold.add({"choices": [{"text": "", "logprobs": None, "finish_reason": "stop"}]})
    assert fold.completion().content == "4"


def test_tool_call_deltas_are_merged_by_index() -> None:
    def piece(index: int, arguments: str, **head: Any) -> dict[str, Any]:
        name = {"name": head.pop("name")} if "name" in head else {}
        return {"index": index, **head, "function": {**name, "arguments": arguments}}

    deltas, completion = folded(
        chunk({"content": None, "tool_calls": [piece(0, "", id="a", name="add")]}),
        chunk({"tool_calls": [piece(0, '{"x":')]}),
        chunk({"tool_calls": [piece(1, "{}", id="b", name="now"), piece(0, " 1}")]}),
        chunk({}, finish_reason="tool_calls"),
    )
    assert len(deltas) == 3
    assert deltas[1].extra == {"tool_calls": [{"index": 0, "function": {"arguments": '{"x":'}}]}
    assert completion.tool_calls == [
        {"id": "a", "type": "function", "function": {"name": "add", "arguments": '{"x": 1}'}},
        {"id": "b", "type": "function", "function": {"name": "now", "arguments": "{}"}},
    ]


def test_a_custom_tool_call_keeps_its_type() -> None:
    head = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "shell", "input": "ls"}}
    _, completion = folded(
        chunk({"tool_calls": [head]}),
        chunk({"tool_calls": [{"index": 0, "custom": {"input": " -l"}}]}, finish_reason="stop"),
    )
    custom = {"name": "shell", "input": "ls -l"}
    assert completion.tool_calls == [{"id": "a", "type": "custom", "custom": custom}]


def test_a_tool_calls_other_fields_are_kept() -> None:
    function = {"name": "add", "arguments": "{", "strict": True}
    _, completion = folded(
        chunk({"tool_calls": [{"index": 0, "id": "a", "function": function}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": "}", "strict": True}}]}),
        chunk({}, finish_reason="tool_calls"),
    )
    whole = {"name": "add", "arguments": "{}", "strict": True}
    assert completion.tool_calls == [{"id": "a", "type": "function", "function": whole}]


def test_counts_that_cannot_be_are_brought_in_range() -> None:
    cached = {"prompt_tokens_details": {"cached_tokens": 5}}
    told = {"prompt_tokens": 3, "completion_tokens": -1, **cached}
    assert usage_of(told) == Usage(3, 3, 0, 1)
    assert counted({"prompt_n": 2, "cache_n": -4, "predicted_n": -1}) == Usage(0, 0, 0, 1)


def test_reasoning_is_joined_apart_from_the_content() -> None:
    _, completion = folded(
        chunk({"reasoning_content": "six "}),
        chunk({"reasoning_content": "sevens", "content": None}),
        chunk({"content": "42"}, finish_reason="stop"),
    )
    assert completion.extra == {"reasoning_content": "six sevens"}
    assert completion.content == "42"


def test_a_stream_without_a_finish_reason_was_cut() -> None:
    with pytest.raises(WorkerProtocolError, match="finish reason"):
        folded(chunk({"content": "4"}))
