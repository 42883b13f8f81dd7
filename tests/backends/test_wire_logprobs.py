"""Log-probabilities in every shape, and counting tokens by them."""

import pytest

from entroute.backends.wire import completion_of
from entroute.spending import Usage
from entroute.types import chosen_logprob, top_logprobs
from tests.backends.test_wire import TEXT, chunk, folded
from tests.builders import a_call


def test_legacy_log_probabilities_are_given_chat_shape() -> None:
    payload = {
        "choices": [
            {
                "text": " 42!",
                "logprobs": {
                    "tokens": [" 42", "!"],
                    "token_logprobs": [None, -0.5],
                    "top_logprobs": [None, {"?": -1.5, "!": -0.5}],
                    "text_offset": [0, 3],
                },
                "finish_reason": "length",
            }
        ]
    }
    completion = completion_of(payload, a_call(TEXT))
    first, second = completion.logprobs
    assert completion.content == " 42!"
    assert (first["token"], chosen_logprob(first), top_logprobs(first)) == (" 42", -9999.0, ())
    assert first["bytes"] == list(b" 42")
    assert top_logprobs(second) == (-0.5, -1.5)
    assert [top["token"] for top in second["top_logprobs"]] == ["!", "?"]


def test_legacy_log_probabilities_may_come_without_alternatives() -> None:
    logprobs = {"tokens": ["a"], "token_logprobs": [-0.5], "top_logprobs": None}
    completion = completion_of({"choices": [{"text": "a", "logprobs": logprobs}]}, a_call(TEXT))
    assert top_logprobs(completion.logprobs[0]) == ()


def test_without_usage_tokens_are_counted_by_log_probabilities_as_partial() -> None:
    entry = {"token": "4", "logprob": -0.1}
    _, completion = folded(
        chunk({"content": "4"}, logprobs={"content": [entry, entry]}, finish_reason="stop")
    )
    assert completion.usage == Usage(completion_tokens=2, calls=1, partial_calls=1)


def test_without_usage_and_log_probabilities_pieces_are_counted_as_partial() -> None:
    _, completion = folded(chunk({"content": "4"}), chunk({"content": "2"}, finish_reason="stop"))
    assert completion.usage == Usage(completion_tokens=2, calls=1, partial_calls=1)


@pytest.mark.parametrize(
    "logprobs",
    [
        {"content": [{"token": "4", "logprob": None}]},
        {"content": [{"token": "4"}]},
        {"content": [{"token": "4", "logprob": -0.1, "top_logprobs": [{"token": "4"}]}]},
        {"content": ["4"]},
        {"content": 4},
        {"tokens": ["4", "5"], "token_logprobs": [-1, -1], "top_logprobs": [{"4": None}, {}]},
        {"tokens": ["4"], "token_logprobs": ["?"]},
        ["4"],
    ],
)
def test_wrong_log_probabilities_are_dropped_and_the_answer_is_kept(logprobs: object) -> None:
    deltas, completion = folded(chunk({"content": "4"}, logprobs=logprobs, finish_reason="stop"))
    assert [(delta.content, delta.logprobs) for delta in deltas] == [("4", ())]
    assert (completion.content, completion.logprobs) == ("4", ())
